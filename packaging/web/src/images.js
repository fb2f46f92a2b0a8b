// Images in and out: planes of float32 grey values.
import { decode as decodePng } from 'fast-png';
import { decode as decodeTiff } from 'tiff';

/** {width, height, planes: [Float32Array]} of a TIFF's pages or a PNG; the channels of a pixel become planes. */
export function readImage(name, bytes) {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isTiff = (bytes[0] === 0x49 && bytes[1] === 0x49) || (bytes[0] === 0x4d && bytes[1] === 0x4d);
  if (!isPng && !isTiff) throw new Error(`${name} is no TIFF or PNG: save it as one of them.`);
  let pages;
  try {
    pages = isPng ? [decodePng(bytes)] : decodeTiff(bytes);
  } catch (error) {
    throw new Error(`${name} cannot be read (${error.message}): save it as an uncompressed TIFF.`);
  }
  const { width, height } = pages[0];
  if (pages.some((p) => p.width !== width || p.height !== height)) {
    throw new Error(`${name} has pages of different sizes: save them as files of their own.`);
  }
  return { width, height, planes: pages.flatMap((page) => channels(page, isPng)) };
}

function channels(page, isPng) {
  const n = isPng ? page.channels : (page.samplesPerPixel ?? page.components ?? 1);
  const colours = isPng && (n === 2 || n === 4) ? n - 1 : n; // without transparency
  return Array.from({ length: colours }, (_, c) => pick(page.data, c, n));
}

function pick(data, first, step) {
  const values = new Float32Array(data.length / step);
  for (let i = 0; i < values.length; i++) values[i] = data[i * step + first];
  return values;
}

/** A TIFF of 32-bit planes that ImageJ opens as a stack. */
export function writeTiff({ width, height, planes }) {
  const text = new TextEncoder().encode(`ImageJ=1.11a\nimages=${planes.length}\nslices=${planes.length}\n\0`);
  const nEntries = 10;
  const ifdBytes = 2 + nEntries * 12 + 4;
  const planeBytes = width * height * 4;
  const textAt = 8;
  const firstIfd = textAt + text.length + (text.length % 2);
  const pixelsAt = Math.ceil((firstIfd + planes.length * ifdBytes) / 4) * 4;
  const buffer = new ArrayBuffer(pixelsAt + planes.length * planeBytes);
  const view = new DataView(buffer);
  view.setUint16(0, 0x4949);
  view.setUint16(2, 42, true);
  view.setUint32(4, firstIfd, true);
  new Uint8Array(buffer).set(text, textAt);
  planes.forEach((plane, i) => {
    let at = firstIfd + i * ifdBytes;
    const entry = (tag, type, count, value) => {
      view.setUint16(at, tag, true);
      view.setUint16(at + 2, type, true);
      view.setUint32(at + 4, count, true);
      if (type === 3) view.setUint16(at + 8, value, true);
      else view.setUint32(at + 8, value, true);
      at += 12;
    };
    view.setUint16(at, nEntries, true);
    at += 2;
    entry(256, 4, 1, width);
    entry(257, 4, 1, height);
    entry(258, 3, 1, 32); // bits
    entry(259, 3, 1, 1); // not compressed
    entry(262, 3, 1, 1); // black is zero
    entry(270, 2, text.length, textAt);
    entry(273, 4, 1, pixelsAt + i * planeBytes);
    entry(277, 3, 1, 1);
    entry(279, 4, 1, planeBytes);
    entry(339, 3, 1, 3); // floating point
    view.setUint32(at, i + 1 < planes.length ? firstIfd + (i + 1) * ifdBytes : 0, true);
    for (let p = 0; p < plane.length; p++) view.setFloat32(pixelsAt + i * planeBytes + p * 4, plane[p], true);
  });
  return buffer;
}
