// Scenarios of the gateway's own phone page, which bare pages have no part in.

import { expect, until } from './until.mjs';
import { relay } from './servers.mjs';

/** A microphone that is refused, then one that is missing: each has its message, and no call goes out. */
export async function refused(stage) {
  const phone = await stage.phone();
  for (const [name, message] of [['NotAllowedError', /refused/], ['NotFoundError', /no microphone/]]) {
    await phone.page.addInitScript((fault) => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('by the test', fault));
    }, name);
    await phone.open();
    await phone.register(stage.first);
    await phone.call(stage.options.echo);
    await phone.awaitMessage(message);
    await phone.awaitCall('idle');
    await phone.unregister();
  }
}

/** A wrong password is said, and the right one mends it. */
export async function wrongPassword(stage) {
  const phone = await stage.phone();
  const attempt = phone.register({ ...stage.first, password: 'wrong' }).catch(() => {});
  await phone.awaitRegistration('failed');
  await phone.awaitMessage(/wrong user name or password/);
  await phone.register(stage.first);
  await attempt;
  expect('message', await phone.message(), '');
}

/** Names of callers are text, whatever they contain. */
export async function hostile(stage) {
  const name = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>';
  const one = await stage.registered({ ...stage.first, displayName: name });
  const two = await stage.registered(stage.second);
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  expect('caller', await two.caller(), /^<img src=x onerror=/);
  await two.answer();
  await two.awaitCall('active');
  expect('name in the call', await two.page.textContent('#call-peer'), /^<img src=x onerror=/);
  expect('elements made of the name', await two.page.locator('#call-peer *, #incoming-peer *').count(), 0);
  expect('window.hurt', await two.page.evaluate(() => typeof window.hurt), 'undefined');
  await two.hangUp();
  await one.awaitCall('idle');
}

/** The WebSocket is lost in a call: said, the voice goes on, and it is mended by itself. */
export async function lost(stage) {
  const phone = await stage.phone();
  const server = stage.options.server || await phone.page.inputValue('#server');
  const between = await relay(server);
  stage.atEnd(() => between.close());
  await phone.register({ ...stage.first, server: between.url });
  await phone.call(stage.options.echo);
  await phone.awaitCall('active');
  await phone.hear(stage.options.frequency);
  await between.cut();
  await phone.awaitRegistration('reconnecting');
  await phone.awaitMessage(/lost/);
  await phone.hear(stage.options.frequency);
  await between.mend();
  await phone.awaitRegistration('registered');
  expect('message', await phone.message(), '');
  expect('call', (await phone.state()).call, 'active');
  await phone.hear(stage.options.frequency);
  await phone.hold(); // requests go over the new connection
  await phone.resume();
  await phone.hangUp();
  await phone.awaitCall('idle');
}

/** A whole call by the keyboard, and what a screen reader is told of it. */
export async function keyboard(stage) {
  const one = await stage.registered(stage.first);
  const two = await stage.registered(stage.second);
  const { keyboard: keys } = one.page;
  const focused = () => one.page.evaluate(() => document.activeElement.id);
  expect('focus after registering', await focused(), 'target');
  await keys.type(stage.second.user);
  await keys.press('Enter');
  await two.awaitCall('incoming');
  expect('announced', await one.page.textContent('#announcer'), /Calling|Ringing/);
  // Enter at once is the one of somebody who was typing; the dialog must not take it for an answer.
  await two.page.keyboard.press('Enter');
  expect('call after an early Enter', (await two.state()).call, 'incoming');
  await until('answer by Enter', stage.options.timeout, async () => {
    await two.page.keyboard.press('Enter');
    return (await two.state()).call !== 'incoming';
  }, 300);
  await Promise.all([one.awaitCall('active'), two.awaitCall('active')]);
  expect('focus in the call', await focused(), 'call-peer');
  await keys.press('5');
  await keys.press('#');
  expect('keys', await one.page.textContent('#dtmf'), '5#');
  await tabTo(one, 'hangup');
  await keys.press('Enter');
  await Promise.all([one.awaitCall('idle'), two.awaitCall('idle')]);
  expect('announced', await one.page.textContent('#announcer'), /ended/i);
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  await until('decline by Escape', stage.options.timeout, async () => {
    await two.page.keyboard.press('Escape');
    return (await two.state()).call === 'idle';
  }, 300);
  await one.awaitCall('idle');
  await everythingHasAName(one);
}

async function tabTo(phone, id) {
  for (let i = 0; i < 40; i++) {
    if (await phone.page.evaluate(() => document.activeElement.id) === id) return;
    await phone.page.keyboard.press('Tab');
  }
  throw new Error(`the Tab key never gets to #${id}`);
}

/** Whatever can be used has a name for those who do not see it. */
async function everythingHasAName(phone) {
  const nameless = await phone.page.evaluate(() => [...document.querySelectorAll('button, input, a, summary')]
    .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
    .map((e) => e.outerHTML));
  expect('elements without a name', nameless.join('\n'), '');
}

const PHONE = { width: 360, height: 700 };

/** Screenshots: idle, ringing and in a call, on a desk and in the hand, light and dark. */
export async function looks(stage) {
  const one = await stage.phone();
  const shoot = async (phone, name) => {
    const { page } = phone;
    const desk = page.viewportSize();
    for (const scheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      const suffix = scheme === 'dark' ? '-dark' : '';
      await page.setViewportSize(desk);
      await stage.screenshot(phone, `phone-${name}${suffix}`);
      await page.setViewportSize(PHONE);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(`width of ${name} on a screen of ${PHONE.width}`, wide, PHONE.width);
      await stage.screenshot(phone, `phone-${name}-${PHONE.width}${suffix}`);
    }
    await page.setViewportSize(desk);
    await page.emulateMedia({ colorScheme: 'light' });
  };
  await shoot(one, 'idle');
  await one.register({ ...stage.first, displayName: 'Alice Miller' });
  await shoot(one, 'registered');
  const two = await stage.registered(stage.second, { frequency: 700 });
  await one.call(stage.second.user);
  await two.awaitCall('incoming');
  await shoot(two, 'incoming');
  await two.answer();
  await two.awaitCall('active');
  await two.hear(stage.options.frequency);
  await one.sendKeys('12');
  await until('quality', stage.options.timeout, async () => /ms.*%.*ms/s.test(await two.page.textContent('#quality')));
  await shoot(two, 'in-call');
  await two.hold();
  await shoot(two, 'on-hold');
  await two.hangUp();
  await one.awaitCall('idle');
  await shoot(one, 'after-call');
}
