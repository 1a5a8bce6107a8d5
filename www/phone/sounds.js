// Ringing, ring-back and the click of the keys, made by WebAudio: no sound files, nothing to load.
// They go to the loudspeaker alone, never into the call.

let context = null;
let stopTone = () => {};

/** A running AudioContext, or null: before the first click browsers let no page make a sound. */
function audio() {
  context ??= new AudioContext();
  if (context.state === 'suspended') context.resume().catch(() => {});
  return context.state === 'running' ? context : null;
}

/** Plays frequencies together, on and off in turn (seconds), until silence() or the next sound. */
function repeat(frequencies, on, off, volume) {
  silence();
  let timer = 0;
  const burst = () => {
    beep(frequencies, on, volume);
    timer = setTimeout(burst, (on + off) * 1000);
  };
  burst();
  stopTone = () => clearTimeout(timer);
}

function beep(frequencies, seconds, volume) {
  const ctx = audio();
  if (!ctx) return;
  const gain = new GainNode(ctx, { gain: 0 });
  const { currentTime: now } = ctx;
  gain.gain.setTargetAtTime(volume, now, 0.01); // without a slope it cracks
  gain.gain.setTargetAtTime(0, now + seconds - 0.04, 0.01);
  gain.connect(ctx.destination);
  for (const frequency of frequencies) {
    const tone = new OscillatorNode(ctx, { frequency });
    tone.connect(gain);
    tone.start(now);
    tone.stop(now + seconds);
  }
}

export const ring = () => repeat([587, 740], 0.9, 1.6, 0.12);
export const ringBack = () => repeat([425], 1, 4, 0.05); // as most of the world's networks, ITU-T E.180
export const busy = () => beep([425], 0.4, 0.05);

/** Ends ring and ringBack. */
export function silence() {
  stopTone();
  stopTone = () => {};
}

const ROWS = { 1: 697, 4: 770, 7: 852, '*': 941 };
const KEYS = ['123', '456', '789', '*0#'];
const COLUMNS = [1209, 1336, 1477];

/** The two frequencies of a key (ITU-T Q.23), for the ear of who pressed it. */
export function keyTone(key) {
  const row = KEYS.find((keys) => keys.includes(key));
  beep([ROWS[row[0]], COLUMNS[row.indexOf(key)]], 0.12, 0.04);
}
