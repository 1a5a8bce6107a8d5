// What is seen: every change of the document is here. Texts of strangers (names of callers) go in as
// text, never as HTML.

import { grade } from './quality.js';

export const $ = (id) => document.getElementById(id);

const REGISTRATION = {
  offline: 'Not registered',
  connecting: 'Connecting…',
  registering: 'Registering…',
  registered: 'Registered',
  failed: 'Registration failed',
  reconnecting: 'Reconnecting…',
};

export function showRegistration(state, address) {
  document.body.dataset.registration = state;
  const bare = address.replace(/^sips?:/, '');
  $('registration-status').textContent = REGISTRATION[state];
  $('account-summary').textContent = state === 'offline' ? '' : bare;
  const on = state !== 'offline' && state !== 'failed';
  $('register').hidden = on;
  $('unregister').hidden = !on;
  for (const id of ['server', 'uri', 'password', 'display-name']) $(id).disabled = on;
  const ready = state === 'registered';
  $('call').disabled = !ready;
  for (const chip of $('test-numbers').children) chip.disabled = !ready;
  $('dial-hint').hidden = ready;
  announce(REGISTRATION[state]);
}

/** kind: "alert", or "note" for what is no fault. null hides it. */
export function showMessage(text, kind = 'alert') {
  $('message').hidden = !text;
  $('message').dataset.kind = kind;
  $('message-text').textContent = text ?? '';
}

/** Tells those who do not see the page. Faults are told by the message itself, a live region, too. */
export function announce(text) {
  $('announcer').textContent = text;
}

export function fillAccount({ server, user, displayName, voiceProcessing, camera }, users) {
  $('server').value = server;
  $('uri').value = user;
  $('display-name').value = displayName;
  $('voice-processing').checked = voiceProcessing;
  $('camera').checked = camera;
  $('users').replaceChildren(...users.map((name) => Object.assign(document.createElement('option'), { value: name })));
}

export function showTestNumbers(numbers, dial) {
  $('test-numbers').hidden = numbers.length === 0;
  $('test-numbers').replaceChildren(...numbers.map(({ number, label }) => {
    const chip = document.createElement('button');
    chip.type = 'button';
    chip.dataset.number = number;
    chip.disabled = true;
    const strong = document.createElement('b');
    strong.textContent = number;
    chip.append(strong, label);
    chip.addEventListener('click', () => dial(number));
    return chip;
  }));
}

const STATES = {
  calling: 'Calling…',
  ringing: 'Ringing…',
  answering: 'Connecting…',
  active: 'In a call',
  held: 'On hold',
};

/** Shows a call, or the dialer for null. */
export function showCall(call) {
  const state = call?.state ?? 'idle';
  document.body.dataset.call = state;
  const talking = state === 'active' || state === 'held';
  const inPanel = talking || state in STATES;
  $('dialer').hidden = inPanel;
  $('call').hidden = inPanel;
  $('call-panel').hidden = !inPanel;
  $('hangup').hidden = !inPanel;
  $('mute').hidden = $('hold').hidden = !talking;
  $('call-duration').hidden = !talking;
  $('quality').hidden = !talking;
  $('dtmf').hidden = !inPanel;
  for (const key of $('keypad').children) key.disabled = inPanel && !call.takesKeys;
  if (!inPanel) {
    $('dtmf').textContent = '';
    return;
  }
  const { name, address } = call.peer;
  $('call-peer').textContent = name;
  $('call-initial').textContent = initial(name);
  $('call-address').textContent = address;
  $('call-address').hidden = address === name;
  $('call-state').textContent = state === 'held' && !call.localHold ? 'On hold by the other side' : STATES[state];
  if (talking) showToggles(call);
}

function showToggles(call) {
  toggle('mute', call.muted, call.muted ? 'Unmute' : 'Mute', call.muted ? 'i-mic-off' : 'i-mic');
  toggle('hold', call.localHold, call.localHold ? 'Resume' : 'Hold', call.localHold ? 'i-play' : 'i-pause');
}

function toggle(id, pressed, label, icon) {
  $(id).setAttribute('aria-pressed', String(pressed));
  $(id).querySelector('span').textContent = label;
  $(id).querySelector('use').setAttribute('href', `#${icon}`);
}

const initial = (name) => ([...name][0] ?? '?').toUpperCase();

export function showDuration(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - since) / 1000));
  const two = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  $('call-duration').textContent = h ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}

export function showQuality(reading) {
  $('stat-codec').textContent = reading?.codec ?? '–';
  showValue('rtt', reading?.rtt, (v) => (v < 1 ? '< 1 ms' : `${Math.round(v)} ms`));
  showValue('loss', reading?.loss, (v) => `${v > 0 && v < 10 ? v.toFixed(1) : Math.round(v)} %`);
  showValue('jitter', reading?.jitter, (v) => `${Math.round(v)} ms`);
}

function showValue(name, value, format) {
  const element = $(`stat-${name}`);
  element.textContent = value === undefined ? '–' : format(value);
  element.dataset.grade = grade(name, value);
}

/** Shows the picture of a stream as soon as there is one; null ends it. */
export function showPicture(stream) {
  const video = $('remote-video');
  video.hidden = true;
  video.onresize = () => { video.hidden = !video.videoWidth; };
  video.srcObject = stream;
}

export function showKey(key) {
  $('dtmf').textContent = ($('dtmf').textContent + key).slice(-24);
  flash(key);
}

/** A key that was typed lights up like one that was touched. */
export function flash(key) {
  const button = [...$('keypad').children].find((b) => b.dataset.key === key);
  button?.classList.add('down');
  setTimeout(() => button?.classList.remove('down'), 140);
}

export function showIncoming(call) {
  const { name, address } = call.peer;
  $('incoming-peer').textContent = name;
  $('incoming-initial').textContent = initial(name);
  $('incoming-address').textContent = address;
  $('incoming').showModal();
}

export function hideIncoming() {
  if ($('incoming').open) $('incoming').close();
}
