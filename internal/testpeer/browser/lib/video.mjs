// What the page sees: the picture of #remote-video, drawn to a canvas and looked at.

import { until } from './until.mjs';

/** One look: {frames, width, bright, contrast, picture}; picture is small and grey. Runs in the page. */
function look() {
  const video = document.getElementById('remote-video');
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  const [width, height] = [32, 24];
  const canvas = window.__canvas ??= new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (video.videoWidth) context.drawImage(video, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const picture = [];
  for (let i = 0; i < data.length; i += 4) picture.push((data[i] + data[i + 1] + data[i + 2]) / 3);
  const bright = picture.reduce((a, b) => a + b, 0) / picture.length;
  const contrast = Math.sqrt(picture.reduce((a, b) => a + (b - bright) ** 2, 0) / picture.length);
  return { frames, width: video.videoWidth, bright, contrast, picture };
}

const change = (a, b) => Math.max(...a.picture.map((v, i) => Math.abs(v - b.picture[i])));

const PAUSE = 200; // ms between looks
const LOOKS = 5; // that must agree, a second

/**
 * Waits until a picture moves for a second: frames come, they are not black, they show something
 * (the fake camera draws a disc that runs over a plain ground), and each look differs from the last.
 */
export async function seeMoving(page, timeout) {
  let agreed = 0;
  let before = null;
  let last = null;
  const say = () => (last ? `${last.frames} frames of ${last.width}, brightness ${Math.round(last.bright)}, contrast ${last.contrast.toFixed(1)}` : 'nothing');
  await until(() => `moving picture; seen ${say()}`, timeout, async () => {
    before = last;
    last = await page.evaluate(look);
    const moves = before && last.frames > before.frames && last.width > 0 && last.bright > 10 && last.contrast > 3 && change(before, last) > 8;
    agreed = moves ? agreed + 1 : 0;
    return agreed >= LOOKS;
  }, PAUSE);
}
