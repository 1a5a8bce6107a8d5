// What the page hears: the remote stream behind #remote-audio, looked at by a WebAudio AnalyserNode,
// and the level of what arrives, from getStats.

import { until } from './until.mjs';

/** One look: {frequency, purity, peak}. Runs in the page. */
function look() {
  const stream = document.getElementById('remote-audio')?.srcObject;
  if (!stream?.getAudioTracks().length) return { frequency: 0, purity: 0, peak: 0 };
  let meter = window.__meter;
  if (meter?.stream !== stream) {
    const context = meter?.context ?? new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(stream).connect(analyser);
    meter = window.__meter = { stream, context, analyser };
  }
  const { analyser, context } = meter;
  const wave = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(wave);
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const top = bins.indexOf(Math.max(...bins));
  const power = bins.map((db) => 10 ** (db / 10));
  const all = power.reduce((a, b) => a + b, 0);
  const near = power.slice(Math.max(0, top - 8), top + 9).reduce((a, b) => a + b, 0);
  return {
    frequency: (top * context.sampleRate) / analyser.fftSize, // to 6 Hz
    purity: all > 0 ? near / all : 0, // share of the tone in all that is heard
    peak: Math.max(...wave.map(Math.abs)), // of full scale
  };
}

const show = ({ frequency, purity, peak }) =>
  `${Math.round(frequency)} Hz (${Math.round(100 * purity)} % of the sound), peak ${peak.toFixed(3)}`;

const PAUSE = 90; // ms between looks
const LOOKS = 6; // that must agree, about half a second

/** Waits until a clean tone is heard for half a second. */
export function hearTone(page, frequency, timeout) {
  const right = (s) => s.peak > 0.02 && s.purity > 0.6 && Math.abs(s.frequency - frequency) < 0.01 * frequency + 6;
  return listen(page, `a tone of ${frequency} Hz`, right, timeout);
}

/** Waits until nothing is heard for half a second. */
export function hearSilence(page, timeout) {
  return listen(page, 'silence', (s) => s.peak < 0.004, timeout);
}

/**
 * Waits until sound arrives, of any frequency. For a page that has held the call: when a receiver
 * stops and starts again with the same a=ssrc, Chromium plays it, but gives no more sound to WebAudio
 * (libwebrtc's AudioRtpReceiver takes the new stream for the old one and does not attach its sink).
 */
export async function hearSound(page, timeout) {
  let agreed = 0;
  let level;
  await until(() => `sound; its level is ${level}`, timeout, async () => {
    level = await page.evaluate(async () => {
      const stats = [...(await window.__connection.getStats()).values()];
      return stats.find((s) => s.type === 'inbound-rtp')?.audioLevel;
    });
    agreed = level > 0.05 ? agreed + 1 : 0;
    return agreed >= LOOKS;
  }, PAUSE);
}

async function listen(page, what, right, timeout) {
  let agreed = 0;
  let last = null;
  await until(() => `${what}; heard ${last ? show(last) : 'nothing'}`, timeout, async () => {
    last = await page.evaluate(look);
    agreed = right(last) ? agreed + 1 : 0;
    return agreed >= LOOKS;
  }, PAUSE);
  return last;
}
