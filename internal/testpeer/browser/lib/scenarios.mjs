// The scenarios. Each gets a Stage, returns when everything was as it should be, and throws otherwise.

import { expect, until } from './until.mjs';

const PLAIN = 440; // Hz, of the test number that plays a tone
const OTHER = 700; // Hz, of the second phone's microphone

/** Registers, calls the echo, hears its own tone, sees codec and quality, hangs up, unregisters. */
export async function echo(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  if (phone.kind === 'phone') await qualityShown(phone);
  await phone.hangUp();
  await phone.awaitCall('idle');
  await phone.unregister();
}

async function qualityShown(phone) {
  const read = async (name) => (await phone.page.textContent(`#stat-${name}`)).trim();
  let last;
  await until(() => `quality: it shows ${JSON.stringify(last)}`, phone.timeout, async () => {
    last = { codec: await read('codec'), rtt: await read('rtt'), loss: await read('loss'), jitter: await read('jitter') };
    return /^(Opus|G\.7)/.test(last.codec) && /^(< 1|\d+) ms$/.test(last.rtt) && /^0 %$/.test(last.loss) && /^\d+ ms$/.test(last.jitter);
  });
  expect('duration', await phone.page.textContent('#call-duration'), /^00:\d\d$/);
}

/** Calls the tone and finds its frequency. */
export async function tone(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.tone);
  await phone.awaitCall('active');
  await phone.hear(PLAIN);
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Holds: silence. Resumes: the tone is back. Twice, since the second re-INVITE is not like the first. */
export async function hold(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  for (let i = 0; i < 2; i++) {
    await phone.hold();
    await phone.hearNothing();
    await phone.resume();
    await phone.hearSomething();
  }
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Two pages: the caller holds, the callee sees it and hears nothing; resumed, both hear; then the other way round. */
export async function held(stage) {
  const { frequency } = stage.options;
  const one = await stage.registered(stage.first, { frequency });
  const two = await stage.registered(stage.second, { frequency: OTHER });
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  await two.answer();
  await Promise.all([one.awaitCall('active'), two.awaitCall('active')]);
  await one.hear(OTHER);
  await two.hear(frequency);
  await one.hold();
  if (two.kind !== 'sipjs') await two.awaitCall('held'); // SIP.js tells its page nothing of it
  await two.hearNothing();
  await one.resume();
  await two.awaitCall('active');
  await two.hear(frequency);
  await one.hearSomething();
  await two.hold();
  await one.hearNothing();
  await two.resume();
  await one.awaitCall('active');
  await Promise.all([one.hearSomething(), two.hearSomething()]);
  await one.hangUp();
  await Promise.all([one.awaitCall('idle'), two.awaitCall('idle')]);
}

/** Mutes: the echo falls silent. Phone page only. */
export async function mute(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  await phone.mute();
  await phone.hearNothing();
  await phone.unmute();
  await phone.hear(stage.options.frequency);
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Sends every key in a call. Whether they arrived is for the other side to say; see "call" for that. */
export async function dtmf(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  const keys = '1234567890*#';
  await phone.awaitKeys(keys, () => phone.sendKeys(keys));
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency); // the microphone is back after the last key
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Two pages: the first calls the second, each hears the other, the second hangs up; then the other way round. */
export async function pair(stage) {
  const { frequency } = stage.options;
  const one = await stage.registered(stage.first, { frequency });
  const two = await stage.registered(stage.second, { frequency: OTHER });
  for (const [caller, callee, account] of [[one, two, stage.second], [two, one, stage.first]]) {
    await caller.call(account.user);
    await callee.awaitCall('incoming');
    await caller.awaitCall('ringing');
    await callee.answer();
    await Promise.all([caller.awaitCall('active'), callee.awaitCall('active')]);
    await one.hear(OTHER);
    await two.hear(frequency);
    await callee.hangUp(); // the caller sees it
    await Promise.all([caller.awaitCall('idle'), callee.awaitCall('idle')]);
  }
}

/** Two pages: the second declines, then the first gives up while it rings. */
export async function decline(stage) {
  const one = await stage.registered(stage.first);
  const two = await stage.registered(stage.second, { frequency: OTHER });
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  await two.decline();
  await Promise.all([one.awaitCall('idle'), two.awaitCall('idle')]);
  if (one.kind === 'phone') await one.awaitMessage(/busy|declined/i);
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  await one.awaitCall('ringing');
  await one.hangUp();
  await Promise.all([one.awaitCall('idle'), two.awaitCall('idle')]);
}

/** A number that rings for ever: cancelled. One that is busy: said so. */
export async function failures(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.rings);
  await phone.awaitCall('ringing');
  await phone.hangUp();
  await phone.awaitCall('idle');
  await phone.call(stage.options.busy);
  if (phone.kind === 'phone') await phone.awaitMessage(/busy/i);
  await phone.awaitCall('idle');
  await phone.call(stage.options.echo); // and the page is still good for a call
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Calls the echo with the camera, sees and hears itself; then the tone, which refuses the picture. */
export async function camera(stage) {
  const phone = await stage.registered();
  await phone.useCamera();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.see();
  await phone.hear(stage.options.frequency);
  await stage.screenshot(phone, `camera-${phone.kind}`);
  await phone.hangUp();
  await phone.awaitCall('idle');
  await phone.call(stage.options.tone); // which has no eyes: the sound is a call as ever
  await phone.awaitCall('active');
  await phone.hear(PLAIN);
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Two pages see and hear each other, by a call each way. */
export async function cameras(stage) {
  const { frequency } = stage.options;
  const one = await stage.registered(stage.first, { frequency });
  const two = await stage.registered(stage.second, { frequency: OTHER });
  await Promise.all([one.useCamera(), two.useCamera()]);
  for (const [caller, callee, account] of [[one, two, stage.second], [two, one, stage.first]]) {
    await caller.call(account.user);
    await callee.awaitCall('incoming');
    await callee.answer();
    await Promise.all([caller.awaitCall('active'), callee.awaitCall('active')]);
    await Promise.all([one.see(), two.see()]);
    await one.hear(OTHER);
    await two.hear(frequency);
    await callee.hangUp();
    await Promise.all([caller.awaitCall('idle'), callee.awaitCall('idle')]);
  }
}

/** Adds the camera to a call, takes it away, and adds it again. JsSIP alone. */
export async function cameraComesAndGoes(stage) {
  const phone = await stage.registered();
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  for (let i = 0; i < 2; i++) {
    await phone.addCamera();
    await phone.see();
    await phone.hear(stage.options.frequency);
    await phone.removeCamera();
    await phone.hear(stage.options.frequency);
  }
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** Calls --target, tells "active", sends --keys, waits for --hear, and ends by --end. */
export async function call(stage) {
  const phone = await stage.registered();
  stage.tell('registered');
  await phone.call(stage.options.target);
  await phone.awaitCall('active');
  await converse(stage, phone);
}

/** Tells "registered", waits for a call, tells "ringing" with the caller's name, answers; then as "call". */
export async function incoming(stage) {
  const phone = await stage.registered();
  stage.tell('registered');
  await phone.awaitCall('incoming');
  stage.tell('ringing', { caller: await phone.caller() });
  await phone.answer();
  await phone.awaitCall('active');
  await converse(stage, phone);
}

async function converse(stage, phone) {
  const { hear, keys, end } = stage.options;
  stage.tell('active');
  if (hear) {
    await phone.hear(hear);
    stage.tell('heard', { frequency: hear });
  }
  if (keys) {
    await phone.awaitKeys(keys, () => phone.sendKeys(keys));
    stage.tell('keys', { keys });
  }
  if (end === 'local') await phone.hangUp();
  await phone.awaitCall('idle');
  stage.tell('ended');
}

/** The phone page alone: what it says, how it looks, what it withstands. */
export { refused, wrongPassword, hostile, lost, keyboard, looks } from './page-scenarios.mjs';
