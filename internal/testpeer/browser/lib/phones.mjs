// One way to use three pages: the gateway's phone page by its buttons, and the bare JsSIP and SIP.js
// pages of pages/ by the functions that they put into window.phone. All three tell their state in
// data-registration and data-call of the body, and play the other side by #remote-audio.

import { expect, until } from './until.mjs';
import { hearSilence, hearSound, hearTone } from './audio.mjs';
import { seeMoving } from './video.mjs';

class Phone {
  constructor({ page, faults }, options) {
    this.page = page;
    this.faults = faults;
    this.options = options;
    this.timeout = options.timeout;
  }

  state() {
    return this.page.evaluate(() => ({ ...document.body.dataset }));
  }

  async awaitState(name, wanted, timeout = this.timeout) {
    let last;
    await until(() => `${name} ${wanted}: it is ${JSON.stringify(last)}`, timeout, async () => {
      last = await this.state();
      return last[name] === wanted;
    });
  }

  awaitRegistration(state, timeout) { return this.awaitState('registration', state, timeout); }
  awaitCall(state, timeout) { return this.awaitState('call', state, timeout); }

  /** Waits until the browser has sent keys, all of them, as telephone-events (RFC 4733); action presses them. */
  async awaitKeys(keys, action) {
    await this.page.evaluate(() => {
      window.__tones = '';
      const { dtmf } = window.__connection.getSenders().find((s) => s.track?.kind === 'audio');
      dtmf.addEventListener('tonechange', ({ tone }) => { window.__tones += tone; });
    });
    await action();
    let sent;
    await until(() => `telephone-events ${keys}: sent ${sent}`, this.timeout, async () => {
      sent = await this.page.evaluate(() => window.__tones);
      return sent === keys;
    });
  }

  hear(frequency) { return hearTone(this.page, frequency, this.timeout); }
  hearSomething() { return hearSound(this.page, this.timeout); }
  hearNothing() { return hearSilence(this.page, this.timeout); }

  see() { return seeMoving(this.page, this.timeout); }

  /** Unregisters if need be: the next scenario's calls must not ring here. */
  async leave() {
    if ((await this.state()).registration === 'registered') await this.unregister();
  }

  /** Fails for errors in the page. */
  check() {
    if (this.faults.length) throw new Error(`in the page: ${this.faults.join('\n')}`);
  }
}

/** The gateway's own phone page. */
export class PhonePage extends Phone {
  kind = 'phone';

  async open() {
    await this.page.goto(this.options.url);
    await this.page.locator('body[data-call]').waitFor();
    // The listeners are there once the form is filled from /config.json or left empty.
    await this.page.waitForFunction(() => document.getElementById('call').disabled);
  }

  async register({ user, password, displayName = '', server = this.options.server }) {
    if (await this.page.locator('#account[open]').count() === 0) await this.page.click('#account summary');
    if (server) await this.page.fill('#server', server);
    const suggested = await this.page.inputValue('#server');
    if (!suggested) throw new Error('the page suggests no server, and none is given');
    await this.page.fill('#uri', `sip:${user}@${this.options.domain}`);
    await this.page.fill('#password', password);
    await this.page.fill('#display-name', displayName);
    await this.page.setChecked('#voice-processing', false); // it takes a pure tone for noise
    await this.page.press('#password', 'Enter');
    await this.awaitRegistration('registered');
    if (this.options.ice !== 'relay') return;
    // The page has asked the gateway for servers, and no call waits for the answer.
    const answered = () => performance.getEntriesByType('resource').some((e) => e.name.endsWith('/ice-servers') && e.responseEnd > 0);
    await this.page.waitForFunction(answered);
  }

  async unregister() {
    if (await this.page.locator('#account[open]').count() === 0) await this.page.click('#account summary');
    await this.page.click('#unregister');
    await this.awaitRegistration('offline');
  }

  async call(target) {
    await this.page.fill('#target', target);
    await this.page.press('#target', 'Enter');
  }

  useCamera() { return this.page.setChecked('#camera', true); }
  answer() { return this.page.click('#answer'); }
  decline() { return this.page.click('#decline'); }
  hangUp() { return this.page.click('#hangup'); }

  async hold() {
    await this.page.click('#hold');
    await this.awaitCall('held');
    expect('the button', (await this.page.textContent('#hold')).trim(), 'Resume');
  }

  async resume() {
    await this.page.click('#hold');
    await this.awaitCall('active');
  }

  async mute() {
    await this.page.click('#mute');
    await this.page.locator('#mute[aria-pressed="true"]').waitFor();
  }

  async unmute() {
    await this.page.click('#mute');
    await this.page.locator('#mute[aria-pressed="false"]').waitFor();
  }

  /** One half by the keyboard, the other by the page's keypad. */
  async sendKeys(keys) {
    await this.page.locator('#call-peer').focus();
    for (const [i, key] of [...keys].entries()) {
      if (i % 2) await this.page.click(`#keypad [data-key="${key}"]`);
      else await this.page.keyboard.press(key);
    }
    expect('keys shown', await this.page.textContent('#dtmf'), keys);
  }

  caller() { return this.page.textContent('#incoming-peer'); }
  message() { return this.page.textContent('#message-text'); }

  /** Waits for a message that matches. */
  async awaitMessage(pattern) {
    let last;
    await until(() => `message like ${pattern}: it says ${JSON.stringify(last)}`, this.timeout, async () => {
      last = await this.message();
      return pattern.test(last);
    });
  }
}

/** A bare page: nothing but a library and #remote-audio. */
export class BarePage extends Phone {
  constructor(opened, options, kind) {
    super(opened, options);
    this.kind = kind;
  }

  async open() {
    await this.page.goto(`${this.options.pages}${this.kind}.html`);
    await this.page.waitForFunction(() => window.phone);
  }

  async register({ user, password, displayName = '', server = this.options.server }) {
    if (!server) throw new Error('bare pages need --server');
    const account = { server, uri: `sip:${user}@${this.options.domain}`, user, password, displayName };
    await this.#do('register', account);
    await this.awaitRegistration('registered');
  }

  async unregister() {
    await this.#do('unregister');
    await this.awaitRegistration('offline');
  }

  call(target) {
    return this.#do('call', target.includes('@') ? target : `sip:${target}@${this.options.domain}`);
  }

  useCamera() { return this.#do('useCamera'); }
  addCamera() { return this.#do('addCamera'); }
  removeCamera() { return this.#do('removeCamera'); }
  answer() { return this.#do('answer'); }
  decline() { return this.#do('decline'); }
  hangUp() { return this.#do('hangUp'); }
  sendKeys(keys) { return this.#do('sendKeys', keys); }

  async hold() {
    await this.#do('hold', true);
    await this.awaitCall('held');
  }

  async resume() {
    await this.#do('hold', false);
    await this.awaitCall('active');
  }

  async caller() { return (await this.state()).peer; }

  #do(name, argument) {
    return this.page.evaluate(([n, a]) => window.phone[n](a), [name, argument]);
  }
}

export function makePhone(opened, options) {
  return options.page === 'phone' ? new PhonePage(opened, options) : new BarePage(opened, options, options.page);
}
