// A package: its description, its ONNX graph, and the graph on planes of any size.
import { load as parseYaml } from 'js-yaml';
import { unzipSync } from 'fflate';
import * as ort from 'onnxruntime-web/wasm';
import { withoutInitialValue } from './onnx_file.js';

const INNER_PX = 512;
const HALO_PX = 192; // how far `tiny` sees; both are multiples of the coarsest map's step
const MAX_BYTES = 2 ** 30;

ort.env.wasm.wasmPaths = new URL('./', self.location.href).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

export async function openPackage(name, bytes) {
  const files = unpacked(name, bytes);
  if (!files['rdf.yaml']) throw new Error(`${name} holds no rdf.yaml: give a package that cosdd-zoo exported.`);
  const rdf = parseYaml(new TextDecoder().decode(files['rdf.yaml']));
  const onnx = rdf.weights?.onnx;
  if (!onnx || !files[onnx.source]) {
    throw new Error(`${name} holds no ONNX weights: export it again, with \`cosdd-zoo export --with onnx\`.`);
  }
  if ((await sha256(files[onnx.source])) !== onnx.sha256) {
    throw new Error(`${onnx.source} in ${name} is not the file that was exported: download the package again.`);
  }
  const axes = rdf.inputs[0].axes.map((a) => a.id ?? a.type);
  if (axes.join(' ') !== 'batch channel y x') {
    throw new Error(`${name} is for the axes ${axes.join(', ')}: this page runs models of y and x alone.`);
  }
  if ((rdf.inputs[0].preprocessing ?? []).some((step) => step.id !== 'ensure_dtype')) {
    throw new Error(`${name} asks for processing outside of the model: export it without --processing rdf.`);
  }
  const names = (tensor) => tensor.axes.find((a) => a.type === 'channel').channel_names;
  const session = await ort.InferenceSession.create(withoutInitialValue(files[onnx.source], 'origin'));
  return { name: rdf.name, session, inputs: names(rdf.inputs[0]), outputs: names(rdf.outputs[0]) };
}

/** Planes of the result; the image's planes are taken as many at a time as the model has channels. */
export async function denoised(model, image, onProgress) {
  const { width, height, planes } = image;
  const n = model.inputs.length;
  if (planes.length % n) {
    throw new Error(`The image has ${planes.length} planes, and the model takes ${n} channels (${model.inputs.join(', ')}).`);
  }
  if (!planes.every((plane) => plane.every(Number.isFinite))) {
    throw new Error('The image has values that are no numbers (NaN or infinite): replace them first.');
  }
  const tiles = tilesOf(width, height);
  const results = [];
  const total = (planes.length / n) * tiles.length;
  for (let first = 0; first < planes.length; first += n) {
    const out = model.outputs.map(() => new Float32Array(width * height));
    for (const tile of tiles) {
      await runTile(model, planes.slice(first, first + n), width, tile, out);
      onProgress((results.length / model.outputs.length * tiles.length + tiles.indexOf(tile) + 1) / total);
    }
    results.push(...out);
  }
  return { width, height, planes: results };
}

function spans(length) {
  const found = [];
  for (let start = 0; start < length; start += INNER_PX) {
    const stop = Math.min(start + INNER_PX, length);
    found.push({ start, stop, from: Math.max(start - HALO_PX, 0), to: Math.min(stop + HALO_PX, length) });
  }
  return found;
}

function tilesOf(width, height) {
  return spans(height).flatMap((y) => spans(width).map((x) => ({ y, x })));
}

async function runTile(model, planes, width, { y, x }, out) {
  const [h, w] = [y.to - y.from, x.to - x.from];
  const values = new Float32Array(planes.length * h * w);
  planes.forEach((plane, c) => {
    for (let row = 0; row < h; row++) {
      const at = (y.from + row) * width + x.from;
      values.set(plane.subarray(at, at + w), (c * h + row) * w);
    }
  });
  const feeds = { input: new ort.Tensor('float32', values, [1, planes.length, h, w]) };
  if (model.session.inputNames.includes('origin')) {
    feeds.origin = new ort.Tensor('int64', BigInt64Array.from([BigInt(y.from), BigInt(x.from)]), [2]);
  }
  const { output } = await model.session.run(feeds);
  out.forEach((plane, c) => {
    for (let row = y.start; row < y.stop; row++) {
      const at = (c * h + row - y.from) * w + x.start - x.from;
      plane.set(output.data.subarray(at, at + x.stop - x.start), row * width + x.start);
    }
  });
  output.dispose();
}

function unpacked(name, bytes) {
  let total = 0;
  const filter = (file) => {
    total += file.originalSize;
    if (total > MAX_BYTES) throw new Error(`${name} unpacks to more than a gigabyte: it is no sound package.`);
    return file.name === 'rdf.yaml' || file.name.endsWith('.onnx');
  };
  try {
    return unzipSync(bytes, { filter });
  } catch (error) {
    throw new Error(`${name} cannot be opened (${error.message}): give a package that cosdd-zoo exported.`);
  }
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, '0')).join('');
}
