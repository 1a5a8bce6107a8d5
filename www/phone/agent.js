// The user agent: one WebSocket, one registration, and the way from losing either back to both.

import JsSIP from '../vendor/jssip/jssip.js';
import { registrationFailure } from './words.js';

JsSIP.debug.disable(); // its log shows credentials

/** Statuses that trying again does not mend: the person must change something. */
const FINAL = new Set([400, 401, 403, 404, 405, 407, 420, 423]);
const RETRY = [3, 6, 12, 24, 30]; // seconds between attempts to register

/**
 * States, told by the event "state":
 *
 *   offline ─► connecting ─► registering ─► registered
 *                 ▲               │  ▲          │ socket lost
 *                 │               ▼  │          ▼
 *               (again)         failed      reconnecting ─► registering
 *
 * JsSIP reconnects by itself, registers then again, and keeps its calls meanwhile.
 * Other events: "trouble" (text, or null when it is over) and "call" (an incoming JsSIP session).
 */
export class Agent extends EventTarget {
  state = 'offline';
  #ua = null;
  #attempts = 0;
  #wasRegistered = false;
  #retry = 0;

  /** Begins to register. account: {server, address, password, displayName}. */
  start(account) {
    this.#discard();
    const ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(account.server)],
      uri: account.address,
      password: account.password,
      display_name: account.displayName || null,
      register_expires: 600,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 15,
      user_agent: 'webrtc2sip phone',
    });
    this.#ua = ua;
    this.#attempts = 0;
    this.#wasRegistered = false;
    this.#listen(ua, account);
    this.#enter('connecting');
    ua.start();
  }

  /** Unregisters, ends the calls and closes the socket. */
  stop() {
    this.#discard();
    this.#enter('offline');
    this.#tell(null);
  }

  /** A call to target; options are those of JsSIP's UA.call. */
  call(target, options) {
    return this.#ua.call(target, options);
  }

  #discard() {
    clearTimeout(this.#retry);
    const ua = this.#ua;
    this.#ua = null; // events that it still sends are of no interest
    ua?.stop();
  }

  #listen(ua, account) {
    const on = (event, handle) => ua.on(event, (e) => {
      if (ua === this.#ua) handle(e);
    });
    on('connected', () => {
      this.#tell(null);
      this.#enter('registering');
    });
    on('disconnected', () => {
      clearTimeout(this.#retry);
      const lost = this.state !== 'connecting';
      this.#enter(lost ? 'reconnecting' : 'connecting');
      this.#tell(lost
        ? 'The connection to the server is lost. Trying to get it back…'
        : `No connection to ${account.server}. Trying again… Is the address right, and the server running?`);
    });
    on('registered', () => {
      this.#attempts = 0;
      this.#wasRegistered = true;
      this.#tell(null);
      this.#enter('registered');
    });
    on('unregistered', () => {
      if (ua.isConnected()) this.#enter('registering');
    });
    on('registrationFailed', (e) => this.#failed(e));
    on('newRTCSession', ({ originator, session, request }) => {
      if (originator === 'remote') this.#emit('call', { session, request });
    });
  }

  #failed({ response, cause }) {
    if (!this.#ua.isConnected()) return; // the lost socket has its own message
    this.#enter('failed');
    const status = response?.status_code;
    const text = registrationFailure(status, response?.reason_phrase, cause);
    if (FINAL.has(status)) {
      this.#tell(text);
      // Another attempt at each reconnect would only get the person locked out. Calls go on if the
      // server has changed its mind about somebody who was registered.
      if (!this.#wasRegistered) this.#discard();
      return;
    }
    const seconds = RETRY[Math.min(this.#attempts++, RETRY.length - 1)];
    this.#tell(`${text} Trying again in ${seconds} s.`);
    const ua = this.#ua;
    this.#retry = setTimeout(() => {
      if (ua !== this.#ua || !ua.isConnected()) return;
      this.#enter('registering');
      ua.register();
    }, seconds * 1000);
  }

  #enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.#emit('state', state);
  }

  #tell(text) {
    this.#emit('trouble', text);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
