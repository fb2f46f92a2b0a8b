// Runs the model beside the page, so that the page stays alive.
import { readImage, writeTiff } from './images.js';
import { denoised, openPackage } from './model.js';

let model = null;

self.onmessage = async ({ data: { kind, name, bytes } }) => {
  try {
    if (kind === 'package') {
      model = await openPackage(name, bytes);
      self.postMessage({ kind, name: model.name, inputs: model.inputs, outputs: model.outputs });
      return;
    }
    const noisy = readImage(name, bytes);
    const onProgress = (share) => self.postMessage({ kind: 'progress', share });
    const started = performance.now();
    const result = await denoised(model, noisy, onProgress);
    const tiff = writeTiff(result);
    const seconds = (performance.now() - started) / 1000;
    const { width, height } = noisy;
    const shown = { noisy: noisy.planes[0], denoised: result.planes[0] };
    self.postMessage({ kind, name, width, height, nPlanes: noisy.planes.length, seconds, shown, tiff }, [tiff]);
  } catch (error) {
    self.postMessage({ kind: 'wrong', text: error.message ?? String(error) });
  }
};
