// The least that a JsSIP page does, after JsSIP's own documentation: no header, no description and no
// order of events is changed to please a gateway.

import JsSIP from '../jssip/jssip.js';

const { dataset } = document.body;
const media = {
  // Echo cancellation and its like take the test's tone for noise.
  mediaConstraints: { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, video: false },
  pcConfig: { iceServers: [] },
};
let ua;
let session;

function follow(next) {
  session = next;
  dataset.peer = next.remote_identity.display_name || next.remote_identity.uri.user;
  dataset.call = next.direction === 'incoming' ? 'incoming' : 'calling';
  const listen = (connection) => connection.addEventListener('track', ({ track, streams }) => {
    document.getElementById(`remote-${track.kind}`).srcObject = streams[0];
  });
  if (next.connection) listen(next.connection);
  else next.on('peerconnection', (e) => listen(e.peerconnection));
  const held = () => {
    const { local, remote } = next.isOnHold();
    dataset.call = local || remote ? 'held' : 'active';
  };
  next.on('progress', (e) => { if (e.originator === 'remote') dataset.call = 'ringing'; });
  next.on('confirmed', held);
  next.on('hold', held);
  next.on('unhold', held);
  for (const event of ['ended', 'failed']) {
    next.on(event, (e) => {
      dataset.cause = e.cause;
      dataset.call = 'idle';
    });
  }
}

const renegotiated = () => new Promise((resolve, reject) => {
  if (!session.renegotiate({}, resolve)) reject(new Error('cannot be renegotiated now'));
});

window.phone = {
  /** From now on calls are made and answered with the camera. */
  useCamera() { media.mediaConstraints.video = { width: 320, height: 240 }; },
  async addCamera() {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } });
    session.connection.addTrack(stream.getVideoTracks()[0], stream);
    await renegotiated();
  },
  async removeCamera() {
    for (const t of session.connection.getTransceivers()) {
      if (t.receiver.track.kind === 'video') t.stop();
    }
    document.getElementById('remote-video').srcObject = null;
    await renegotiated();
  },
  register({ server, uri, password, displayName }) {
    ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(server)], uri, password, display_name: displayName || null });
    ua.on('registered', () => { dataset.registration = 'registered'; });
    ua.on('unregistered', () => { dataset.registration = 'offline'; });
    ua.on('registrationFailed', (e) => {
      dataset.registration = 'failed';
      dataset.cause = e.cause;
    });
    ua.on('newRTCSession', (e) => follow(e.session));
    ua.start();
  },
  unregister() { ua.unregister(); },
  call(target) { ua.call(target, media); },
  answer() { session.answer(media); },
  decline() { session.terminate({ status_code: 486 }); },
  hangUp() { session.terminate(); },
  hold(on) { if (on) session.hold(); else session.unhold(); },
  sendKeys(keys) { session.sendDTMF(keys, { transportType: 'RFC2833', duration: 160, interToneGap: 80 }); },
};
