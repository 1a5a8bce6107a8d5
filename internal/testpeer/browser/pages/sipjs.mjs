// The least that a SIP.js page does, after SIP.js' own documentation: no header, no description and
// no order of events is changed to please a gateway.

import { Invitation, Inviter, Registerer, RegistererState, SessionState, UserAgent } from '../sip.js/index.js';

const { dataset } = document.body;
const constraints = {
  // Echo cancellation and its like take the test's tone for noise.
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  video: false,
};
const media = { sessionDescriptionHandlerOptions: { constraints } };
let agent;
let registerer;
let session;

function play() {
  const audio = document.getElementById('remote-audio');
  audio.srcObject = session.sessionDescriptionHandler.remoteMediaStream;
  audio.load(); // an element whose stream was stopped by a hold stays silent until it loads it again
  document.getElementById('remote-video').srcObject = audio.srcObject;
  return audio.play();
}

function follow(next, state) {
  session = next;
  dataset.peer = next.remoteIdentity.displayName || next.remoteIdentity.uri.user;
  dataset.call = state;
  next.stateChange.addListener((now) => {
    if (now === SessionState.Established) {
      play().catch(() => {}); // hung up before the first sound
      dataset.call = 'active';
    }
    if (now === SessionState.Terminated) dataset.call = 'idle';
  });
}

const accepted = (request) => new Promise((resolve, reject) => {
  request({ onAccept: resolve, onReject: ({ message }) => reject(new Error(`${message.statusCode} ${message.reasonPhrase}`)) });
});

window.phone = {
  /** From now on calls are made and answered with the camera. */
  useCamera() { constraints.video = { width: 320, height: 240 }; },
  async register({ server, uri, user, password, displayName }) {
    agent = new UserAgent({
      uri: UserAgent.makeURI(uri),
      transportOptions: { server },
      authorizationUsername: user,
      authorizationPassword: password,
      displayName,
      logLevel: 'warn',
      sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      delegate: { onInvite: (invitation) => follow(invitation, 'incoming') },
    });
    await agent.start();
    registerer = new Registerer(agent);
    registerer.stateChange.addListener((state) => {
      dataset.registration = state === RegistererState.Registered ? 'registered' : 'offline';
    });
    await registerer.register({
      requestDelegate: {
        onReject: ({ message }) => {
          dataset.registration = 'failed';
          dataset.cause = `${message.statusCode} ${message.reasonPhrase}`;
        },
      },
    });
  },
  async unregister() { await registerer.unregister(); },
  async call(target) {
    const inviter = new Inviter(agent, UserAgent.makeURI(target), media);
    follow(inviter, 'calling');
    await inviter.invite({
      requestDelegate: {
        onProgress: () => { dataset.call = 'ringing'; },
        onReject: ({ message }) => { dataset.cause = `${message.statusCode} ${message.reasonPhrase}`; },
      },
    });
  },
  async answer() { await session.accept(media); },
  async decline() { await session.reject({ statusCode: 486 }); },
  async hangUp() {
    if (session.state === SessionState.Established) await session.bye();
    else if (session instanceof Invitation) await session.reject();
    else await session.cancel();
  },
  async hold(on) {
    session.sessionDescriptionHandlerOptionsReInvite = { constraints, hold: on };
    await accepted((requestDelegate) => session.invite({ requestDelegate }));
    session.sessionDescriptionHandler.enableSenderTracks(!on); // the library does not do it
    if (!on) await play();
    dataset.call = on ? 'held' : 'active';
  },
  sendKeys(keys) {
    if (!session.sessionDescriptionHandler.sendDtmf(keys, { duration: 160, interToneGap: 80 })) throw new Error('no keys can be sent');
  },
};
