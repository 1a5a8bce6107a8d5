// The microphone. It is opened before the INVITE or the answer goes out, and not by JsSIP, so that
// "refused" and "none there" can be told apart and nobody's phone rings for a call without a voice.

/** A stream of one audio track. Throws a DOMException, see microphoneFailure. */
export async function openMicrophone(voiceProcessing) {
  if (!navigator.mediaDevices) throw new DOMException('no secure context', 'InsecureContext');
  return navigator.mediaDevices.getUserMedia({
    audio: {
      echoCancellation: voiceProcessing,
      noiseSuppression: voiceProcessing,
      autoGainControl: voiceProcessing,
    },
  });
}

export function closeMicrophone(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
