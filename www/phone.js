// The phone page: joins the form, the keys and the buttons with the agent and its call.
//
//   phone/account.js     what is typed, remembered and suggested
//   phone/agent.js       the WebSocket and the registration
//   phone/call.js        one call; phone/microphone.js and phone/quality.js belong to it
//   phone/ice.js         the STUN and TURN servers that the gateway lends
//   phone/view.js        everything that is seen
//   phone/sounds.js      everything that is heard besides the other side
//   phone/words.js       what is said when something fails

import { addressOfRecord, loadDefaults, recall, remember, serverURL, suggestServer } from './phone/account.js';
import { Agent } from './phone/agent.js';
import { Call } from './phone/call.js';
import { borrowServers } from './phone/ice.js';
import { closeMicrophone, openMicrophone } from './phone/microphone.js';
import * as sounds from './phone/sounds.js';
import * as view from './phone/view.js';
import { microphoneFailure } from './phone/words.js';

const { $ } = view;
const agent = new Agent();
let address = ''; // ours, once registered
let call = null; // the one call, from its first ring to its end
let opening = false; // whether the browser asks for the microphone, for a call that is not there yet
const narrow = matchMedia('(max-width: 759px)'); // as in phone.css
let trouble = null; // the agent's message; others give way to it

// Registration

const defaults = await loadDefaults();
const remembered = recall();
view.fillAccount({
  server: remembered.server || suggestServer(defaults, location),
  user: remembered.user || defaults.users[0] || '',
  displayName: remembered.displayName ?? '',
  voiceProcessing: remembered.voiceProcessing ?? true,
  camera: remembered.camera ?? false,
}, defaults.users);
view.showTestNumbers(defaults.testNumbers, dial);
view.showRegistration('offline', '');
view.showCall(null);

$('registration').addEventListener('submit', (event) => {
  event.preventDefault();
  if (agent.state !== 'offline' && agent.state !== 'failed') return;
  const form = readAccount();
  const server = serverURL(form.server);
  if (!server) {
    view.showMessage('The server must be a WebSocket address, such as wss://sip.example.com.');
    $('server').focus();
    return;
  }
  remember(form);
  address = addressOfRecord(form.user, defaults.realm, server);
  view.showMessage(null);
  try {
    agent.start({ server, address, password: $('password').value, displayName: form.displayName });
  } catch (error) {
    view.showMessage(`This account cannot be used (${error.message}).`);
  }
});

$('unregister').addEventListener('click', () => agent.stop());
for (const id of ['voice-processing', 'camera']) $(id).addEventListener('change', () => remember(readAccount()));

function readAccount() {
  return {
    server: $('server').value.trim(),
    user: $('uri').value.trim(),
    displayName: $('display-name').value.trim(),
    voiceProcessing: $('voice-processing').checked,
    camera: $('camera').checked,
  };
}

agent.addEventListener('state', ({ detail: state }) => {
  view.showRegistration(state, address);
  if (state === 'registered') borrowServers();
  if (state === 'registered' && !call) {
    // Beside the phone it is in nobody's way; on a narrow screen it lies above it.
    if (narrow.matches) $('account').open = false;
    $('target').focus({ preventScroll: true });
  }
  if (state === 'failed' || state === 'offline') $('account').open = true;
});

agent.addEventListener('trouble', ({ detail: text }) => {
  if (text || trouble) view.showMessage(text);
  trouble = text;
});

$('message-close').addEventListener('click', () => view.showMessage(null));

// Calls

$('dial').addEventListener('submit', (event) => {
  event.preventDefault();
  dial($('target').value.trim());
});

async function dial(target) {
  if (!target || call || opening || agent.state !== 'registered') return;
  const microphone = await microphoneFor('Allow the microphone to make the call…');
  if (!microphone) return;
  if (call || agent.state !== 'registered') { // somebody called, or the server went away, meanwhile
    closeMicrophone(microphone);
    return;
  }
  try {
    follow(Call.outgoing(agent, target, microphone));
  } catch {
    closeMicrophone(microphone);
    view.showMessage(`“${target}” is no number and no SIP address.`);
  }
}

/** A stream, or null after having said why there is none. */
async function microphoneFor(prompt) {
  opening = true;
  // A browser that asks the person tells nobody that it does; say so if it takes a while.
  const asking = setTimeout(() => view.showMessage(prompt, 'note'), 400);
  try {
    const stream = await openMicrophone($('voice-processing').checked, $('camera').checked);
    view.showMessage(trouble);
    return stream;
  } catch (error) {
    view.showMessage(microphoneFailure(error));
    return null;
  } finally {
    clearTimeout(asking);
    opening = false;
  }
}

agent.addEventListener('call', ({ detail: { session } }) => {
  const incoming = Call.incoming(session);
  if (call || opening) {
    const { name } = incoming.peer;
    incoming.hangUp(); // 486 Busy Here: this page has one line
    view.showMessage(`${name} has called meanwhile.`, 'note');
    return;
  }
  follow(incoming);
  view.showIncoming(incoming);
  ringing = Date.now();
});

/** Makes it the call of the page. */
function follow(next) {
  call = next;
  view.showMessage(trouble);
  view.showQuality(null);
  view.announce(next.state === 'incoming' ? '' : `Calling ${next.peer.name}`);
  next.addEventListener('state', changed);
  next.addEventListener('muted', () => {
    view.showCall(next);
    view.announce(next.muted ? 'Muted' : 'No longer muted');
  });
  next.addEventListener('audio', ({ detail: stream }) => {
    play(stream);
    listen(next.state);
  });
  next.addEventListener('video', ({ detail: stream }) => view.showPicture(stream));
  next.addEventListener('quality', ({ detail: reading }) => view.showQuality(reading));
  changed();
}

function changed() {
  const { state } = call;
  view.showCall(call);
  if (state !== 'incoming') view.hideIncoming();
  listen(state);
  if (state === 'ended') {
    ended();
    return;
  }
  document.title = state === 'incoming' ? `${call.peer.name} is calling` : `${call.peer.name} · Phone`;
  if (state !== 'incoming') view.announce($('call-state').textContent);
  if (state === 'active' || state === 'held') tick();
  // The focus was on what is hidden now; there the keys 0-9 reach the call, and a screen reader begins.
  if (state !== 'incoming' && !$('call-panel').contains(document.activeElement) && !document.activeElement.closest('.actions, .keypad')) {
    $('call-peer').focus({ preventScroll: true });
  }
}

/** The sound that belongs to a state. */
function listen(state) {
  if (state === 'incoming') sounds.ring();
  else if (state === 'ringing' && !$('remote-audio').srcObject) sounds.ringBack();
  else sounds.silence(); // in early media the network's own tone is heard
}

function ended() {
  const { reason, failed } = call;
  call = null;
  clearTimeout(ticking);
  $('remote-audio').srcObject = null;
  view.showPicture(null);
  document.title = 'Phone · webrtc2sip';
  view.showCall(null);
  if (failed) sounds.busy();
  if (!trouble) view.showMessage(reason, 'note');
  view.announce(reason);
  $('target').focus({ preventScroll: true });
  $('target').select(); // Enter calls again, a digit begins anew
}

let ticking = 0;

function tick() {
  clearTimeout(ticking);
  if (!call) return;
  view.showDuration(call.since);
  ticking = setTimeout(tick, 1000 - ((Date.now() - call.since) % 1000));
}

async function play(stream) {
  const audio = $('remote-audio');
  audio.srcObject = stream;
  try {
    await audio.play();
  } catch (error) {
    // A page that was never touched may make no sound. AbortError: the call ended before it began.
    if (error.name === 'NotAllowedError') view.showMessage('The browser holds back the sound: click anywhere to hear the other side.');
  }
}

document.addEventListener('click', () => {
  const audio = $('remote-audio');
  if (audio.srcObject && audio.paused) audio.play().catch(() => {});
});

$('hangup').addEventListener('click', () => call?.hangUp());
$('mute').addEventListener('click', () => call?.toggleMute());
$('hold').addEventListener('click', () => {
  if (call && !call.toggleHold()) view.announce('Please wait a moment');
});

// Incoming

let ringing = 0; // since when, in ms of the epoch

// Somebody who types when the dialog appears must not answer by the Enter of his sentence.
const meant = (event) => event.detail > 0 || Date.now() - ringing > 600;

$('answer').addEventListener('click', async (event) => {
  if (!meant(event) || opening || call?.state !== 'incoming') return;
  const answered = call;
  const microphone = await microphoneFor('Allow the microphone to answer…');
  if (microphone) answered.answer(microphone);
  else if (answered === call) call.hangUp();
});

$('decline').addEventListener('click', (event) => meant(event) && call?.hangUp());

$('incoming').addEventListener('cancel', (event) => { // the Escape key
  event.preventDefault();
  if (meant(event)) call?.hangUp();
});

// Keys

$('keypad').addEventListener('click', ({ target }) => {
  const key = target.closest('button')?.dataset.key;
  if (key) press(key);
});

document.addEventListener('keydown', (event) => {
  if (!call?.takesKeys || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.closest('input') || !/^[0-9*#]$/.test(event.key)) return;
  event.preventDefault();
  press(event.key);
});

function press(key) {
  sounds.keyTone(key);
  if (!call) {
    $('target').value += key;
    return;
  }
  if (!call.takesKeys) return;
  try {
    call.sendKeys(key);
    view.showKey(key);
  } catch {
    view.showMessage('This key could not be sent.');
  }
}

$('erase').addEventListener('click', () => {
  $('target').value = [...$('target').value].slice(0, -1).join('');
  $('target').focus({ preventScroll: true });
});

// Leaving

window.addEventListener('beforeunload', (event) => {
  if (call) event.preventDefault(); // the browser asks whether to leave
});

window.addEventListener('pagehide', () => agent.stop()); // BYE and unregister, as far as they get
