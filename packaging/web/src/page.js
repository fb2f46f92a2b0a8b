// The page: files in, progress, both images at the same display range, the result to save.
const byId = (id) => document.getElementById(id);
const worker = new Worker('worker.js', { type: 'module' });
const waiting = [];
let busy = false;
let hasModel = false;

function say(text, wrong = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('wrong', wrong);
}

async function take(files) {
  const isPackage = (file) => file.name.toLowerCase().endsWith('.zip');
  waiting.push(...[...files].sort((a, b) => isPackage(b) - isPackage(a)));
  await next();
}

async function next() {
  if (busy || !waiting.length) return;
  const file = waiting.shift();
  const kind = file.name.toLowerCase().endsWith('.zip') ? 'package' : 'image';
  if (kind === 'image' && !hasModel) {
    say(`Give a package first, then ${file.name}.`, true);
    return;
  }
  busy = true;
  say(kind === 'package' ? `Opening ${file.name} ...` : `Denoising ${file.name} ...`);
  byId('progress').hidden = kind !== 'image';
  byId('progress').value = 0;
  const bytes = new Uint8Array(await file.arrayBuffer());
  worker.postMessage({ kind, name: file.name, bytes }, [bytes.buffer]);
}

worker.onerror = (event) => done(`The page broke off: ${event.message}. Load it again.`, true);
worker.onmessage = ({ data }) => {
  if (data.kind === 'progress') byId('progress').value = data.share;
  else if (data.kind === 'wrong') done(data.text, true);
  else if (data.kind === 'package') {
    hasModel = true;
    byId('image').disabled = false;
    byId('model').textContent = `Model: ${data.name}, ${data.inputs.length} channel(s) in`;
    done('Give an image.');
  } else show(data);
};

function done(text, wrong = false) {
  busy = false;
  byId('progress').hidden = true;
  say(text, wrong);
  next();
}

function show({ name, width, height, nPlanes, seconds, shown, tiff }) {
  const [low, high] = displayRange(shown.noisy);
  draw(byId('noisy'), shown.noisy, width, height, low, high);
  draw(byId('denoised'), shown.denoised, width, height, low, high);
  const link = byId('download');
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([tiff], { type: 'image/tiff' }));
  link.download = `${name.replace(/\.[^.]*$/, '')}_denoised.tif`;
  byId('result').hidden = byId('offer').hidden = false;
  const more = nPlanes > 1 ? `, ${nPlanes} planes, of which the first is shown` : '';
  done(`${name}: ${width} x ${height} px${more}, denoised in ${seconds.toFixed(1)} s.`);
}

/** From the 0.1th to the 99.9th percentile of at most 100,000 pixels. */
function displayRange(values) {
  const step = Math.max(1, Math.floor(values.length / 100000));
  const some = values.filter((_, i) => i % step === 0).sort();
  const at = (share) => some[Math.round(share * (some.length - 1))];
  return [at(0.001), Math.max(at(0.999), at(0.001) + 1e-6)];
}

function draw(canvas, values, width, height, low, high) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    const grey = (255 * (values[i] - low)) / (high - low);
    pixels.data.set([grey, grey, grey, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
}

for (const id of ['package', 'image']) byId(id).addEventListener('change', (event) => take(event.target.files));
for (const name of ['dragenter', 'dragover']) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.add('over');
  });
}
document.addEventListener('dragleave', () => document.body.classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  take(event.dataTransfer.files);
});
