// The microphone, and the camera if it is wanted. They are opened before the INVITE or the answer goes out, and not by JsSIP, so that
// "refused" and "none there" can be told apart and nobody's phone rings for a call without a voice.

/**
 * A stream of one audio track, and one of video with camera set. Throws a DOMException, see
 * microphoneFailure; a camera that fails takes nobody's voice.
 */
export async function openMicrophone(voiceProcessing, camera = false) {
  if (!navigator.mediaDevices) throw new DOMException('no secure context', 'InsecureContext');
  const open = (video) => navigator.mediaDevices.getUserMedia({
    audio: {
      echoCancellation: voiceProcessing,
      noiseSuppression: voiceProcessing,
      autoGainControl: voiceProcessing,
    },
    video,
  });
  try {
    return await open(camera && { width: { ideal: 640 }, height: { ideal: 480 } });
  } catch (error) {
    if (!camera) throw error;
    return open(false);
  }
}

export function closeMicrophone(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
