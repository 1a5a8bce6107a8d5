// One call: a JsSIP session as states and events that a page can show.

import JsSIP from '../vendor/jssip/jssip.js';
import { connectionSettings } from './ice.js';
import { closeMicrophone } from './microphone.js';
import { QualityMeter } from './quality.js';
import { ending } from './words.js';

/**
 * States, told by the event "state":
 *
 *   outgoing: calling ─► ringing ─┐
 *   incoming: incoming ─► answering ─► active ⇄ held ─► ended
 *
 * Other events: "audio" and "video" (the MediaStream of the other side, once for each), "quality" (a reading, each second) and
 * "muted". In "held" at least one side holds; localHold says whether we do.
 */
export class Call extends EventTarget {
  state;
  /** Why it ended, once it has; failed when there was no conversation. */
  reason = '';
  failed = false;
  /** When the conversation began, in ms of the epoch; 0 before. */
  since = 0;
  #session = null;
  #microphone = null;
  #meter = 0;

  /** Calls target through agent with an open microphone, which the call then owns. */
  static outgoing(agent, target, microphone) {
    const call = new Call('calling');
    call.#microphone = microphone;
    // JsSIP makes the connection within call(), everything else happens after it has returned.
    const eventHandlers = { peerconnection: ({ peerconnection }) => call.#connection(peerconnection) };
    call.#session = agent.call(target, { ...call.#media(), eventHandlers });
    call.#listen(call.#session);
    return call;
  }

  /** A call that rings here. It waits for answer or hangUp. */
  static incoming(session) {
    const call = new Call('incoming');
    call.#session = session;
    session.on('peerconnection', ({ peerconnection }) => call.#connection(peerconnection));
    call.#listen(session);
    return call;
  }

  constructor(state) {
    super();
    this.state = state;
  }

  /** Name and address of the other side. */
  get peer() {
    const { display_name: name, uri } = this.#session.remote_identity;
    return { name: name || uri.user || uri.host, address: uri.toString().replace(/^sips?:/, '') };
  }

  get ended() { return this.state === 'ended'; }
  get localHold() { return this.#session.isOnHold().local; }
  get muted() { return Boolean(this.#session.isMuted().audio); }
  /** Whether keys can be sent now: JsSIP takes them in an early call, too (menus without a charge). */
  get takesKeys() { return this.state === 'active' || this.state === 'ringing'; }

  answer(microphone) {
    if (this.state !== 'incoming') {
      closeMicrophone(microphone); // the caller gave up while we asked for the microphone
      return;
    }
    this.#microphone = microphone;
    this.#enter('answering');
    this.#session.answer(this.#media());
  }

  /** Ends the call, gives it up, or declines it, whatever it is at. */
  hangUp() {
    if (this.ended) return;
    // 603 would end the ringing of the person's other phones as well (RFC 3261 §21.6.2); 486 is
    // for this one alone, and is what other phones send.
    this.#session.terminate(this.state === 'incoming' ? { status_code: 486, reason_phrase: 'Busy Here' } : undefined);
  }

  toggleMute() {
    if (this.muted) this.#session.unmute({ audio: true });
    else this.#session.mute({ audio: true });
  }

  /** Asks for hold or resume by a re-INVITE. False if another one is under way. */
  toggleHold() {
    return this.localHold ? this.#session.unhold() : this.#session.hold();
  }

  /** Sends keys as telephone-events (RFC 4733), or by INFO if the other side takes none. */
  sendKeys(keys) {
    const sender = this.#session.connection?.getSenders().find((s) => s.track?.kind === 'audio');
    const { RFC2833, INFO } = JsSIP.C.DTMF_TRANSPORT;
    this.#session.sendDTMF(keys, {
      duration: 160,
      interToneGap: 80,
      transportType: sender?.dtmf?.canInsertDTMF ? RFC2833 : INFO,
    });
  }

  #media() {
    // JsSIP drops the tracks of a stream that the constraints do not have.
    const mediaConstraints = { audio: true, video: this.#microphone.getVideoTracks().length > 0 };
    return { mediaStream: this.#microphone, mediaConstraints, pcConfig: connectionSettings() };
  }

  #connection(connection) {
    connection.addEventListener('track', ({ track, streams }) => {
      this.#emit(track.kind, streams[0] ?? new MediaStream([track]));
    });
    const meter = new QualityMeter();
    const read = async () => {
      if (this.state !== 'active' && this.state !== 'held') return;
      const reading = await meter.read(connection).catch(() => null); // closed meanwhile
      if (reading && !this.ended) this.#emit('quality', reading);
    };
    this.#meter = setInterval(read, 1000);
  }

  #listen(session) {
    // Host candidates are there at once; waiting for the end of gathering would cost up to seconds
    // on machines with many interfaces, and the gateway needs none of them.
    session.on('icecandidate', ({ ready }) => ready());
    session.on('progress', ({ originator }) => {
      if (originator === 'remote') this.#enter('ringing');
    });
    session.on('accepted', () => this.#begin());
    session.on('confirmed', () => this.#begin());
    for (const event of ['hold', 'unhold']) session.on(event, () => this.#held());
    for (const event of ['muted', 'unmuted']) session.on(event, () => this.#emit('muted', this.muted));
    session.on('ended', (e) => this.#end(e, false));
    session.on('failed', (e) => this.#end(e, true));
  }

  #begin() {
    if (this.since || this.ended) return;
    this.since = Date.now();
    this.#held();
  }

  #held() {
    if (this.ended || !this.since) return;
    const { local, remote } = this.#session.isOnHold();
    this.#enter(local || remote ? 'held' : 'active');
  }

  #end(event, failed) {
    clearInterval(this.#meter);
    closeMicrophone(this.#microphone);
    this.reason = ending(event, failed);
    this.failed = failed;
    this.#enter('ended');
  }

  #enter(state) {
    if (this.ended) return;
    this.state = state;
    this.#emit('state', state);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
