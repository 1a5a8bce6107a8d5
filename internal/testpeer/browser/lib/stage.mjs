// What a scenario has at hand: phones, each opened when asked for, all closed at its end.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launch, openPage } from './browser.mjs';
import { makePhone } from './phones.mjs';
import { servePages } from './servers.mjs';

export class Stage {
  #browsers = new Map(); // by frequency of the microphone
  #phones = [];
  #closers = [];

  constructor(options, tell) {
    this.options = options;
    /** Tells whoever started us what has happened: tell(event, details). */
    this.tell = tell;
  }

  get first() { return { user: this.options.user, password: this.options.password }; }
  get second() { return { user: this.options.user2, password: this.options.password2 }; }

  /** Opens the page under test, with a microphone that plays frequency. settings are those of a browser context. */
  async phone({ frequency = this.options.frequency, ...settings } = {}) {
    const { options } = this;
    if (options.page !== 'phone' && !options.pages) {
      const server = await servePages();
      this.#closers.push(() => server.close());
      options.pages = server.url;
      this.#closers.push(() => { options.pages = ''; });
    }
    let running = this.#browsers.get(frequency);
    if (!running) {
      running = await launch(options, frequency);
      this.#browsers.set(frequency, running);
      this.#closers.push(() => running.close());
    }
    const phone = makePhone(await openPage(running.browser, settings, options), options);
    this.#phones.push(phone);
    await phone.open();
    return phone;
  }

  /** A phone that is registered. */
  async registered(account = this.first, settings = {}) {
    const phone = await this.phone(settings);
    await phone.register(account);
    return phone;
  }

  /** To be done at the end, last first. */
  atEnd(close) { this.#closers.push(close); }

  async screenshot(phone, name) {
    await mkdir(this.options.artifacts, { recursive: true });
    await phone.page.screenshot({ path: join(this.options.artifacts, `${name}.png`) });
  }

  /** Fails for errors in any page. */
  check() {
    for (const phone of this.#phones) phone.check();
  }

  /** What the pages say of themselves, for the report of a failure. */
  async describe() {
    const states = await Promise.all(this.#phones.map(async (phone) => {
      const state = await phone.state().catch((error) => String(error));
      const message = phone.message ? await phone.message().catch(() => '') : '';
      return `${JSON.stringify(state)} ${message}`;
    }));
    return states.join('\n');
  }

  /** Screenshots of a failure. */
  async photograph(name) {
    await Promise.all(this.#phones.map((phone, i) => this.screenshot(phone, `${name}-${i + 1}`).catch(() => {})));
  }

  async close() {
    // A failed scenario leaves pages in any state; what matters then is the failure already told.
    await Promise.allSettled(this.#phones.map((phone) => phone.leave()));
    for (const close of this.#closers.reverse()) await close();
  }
}
