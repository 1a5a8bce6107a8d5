// Chromium with a fake microphone that plays a tone.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const RATE = 48000;

/** A WAV file (16 bit, mono) of one second of a sine. Chromium repeats it: whole periods, no crack. */
export function toneWAV(frequency, seconds = 1) {
  const samples = RATE * seconds;
  const wav = Buffer.alloc(44 + 2 * samples);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + 2 * samples, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16); // size of the format chunk
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // channels
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(2 * RATE, 28); // octets a second
  wav.writeUInt16LE(2, 32); // octets a frame
  wav.writeUInt16LE(16, 34); // bits
  wav.write('data', 36);
  wav.writeUInt32LE(2 * samples, 40);
  for (let i = 0; i < samples; i++) {
    wav.writeInt16LE(Math.round(13000 * Math.sin((2 * Math.PI * frequency * i) / RATE)), 44 + 2 * i);
  }
  return wav;
}

/** A browser of its own, since the microphone is one for the whole process. Close it by close(). */
export async function launch(options, frequency) {
  const dir = await mkdtemp(join(tmpdir(), 'phone-'));
  const sound = join(dir, 'tone.wav');
  await writeFile(sound, toneWAV(frequency));
  const browser = await chromium.launch({
    executablePath: options.chromium,
    headless: !options.headed,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
      '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${sound}`,
    ],
  });
  return {
    browser,
    async close() {
      await browser.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/**
 * A page in a profile of its own. faults fills with what went wrong in it: uncaught errors and what
 * the Content-Security-Policy stopped. A WebSocket that fails is not one of them.
 */
export async function openPage(browser, settings = {}, { ice = '', red = '' } = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, ...settings });
  await context.addInitScript(keepConnections, { ice, red });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(`uncaught ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (/content security policy|trusted ?type/i.test(message.text())) faults.push(message.text());
  });
  return { page, faults };
}

/**
 * Runs in the page before its scripts: audio.mjs reads the statistics of the newest connection. ice
 * and red are the options of these names.
 */
function keepConnections({ ice, red }) {
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration, ...args) {
      super(ice === 'relay' ? { ...configuration, iceTransportPolicy: 'relay' } : configuration, ...args);
      window.__connection = this;
    }

    createOffer(...args) {
      const { codecs } = RTCRtpReceiver.getCapabilities('audio');
      const first = codecs.filter((c) => c.mimeType === 'audio/red');
      for (const t of red ? this.getTransceivers() : []) {
        if (t.receiver.track.kind === 'audio') t.setCodecPreferences([...first, ...codecs.filter((c) => !first.includes(c))]);
      }
      return super.createOffer(...args);
    }

    setRemoteDescription({ type, sdp }) {
      return super.setRemoteDescription({ type, sdp: ice === 'tcp' ? sdp.replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, '') : sdp });
    }
  };
}
