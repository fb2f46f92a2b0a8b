// Makes dist/, the static page: two bundles and the WebAssembly of onnxruntime-web.
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
await build({
  entryPoints: ['src/page.js', 'src/worker.js'],
  outdir: 'dist',
  bundle: true,
  format: 'esm',
  minify: true,
  logLevel: 'warning',
});
for (const name of ['index.html', 'page.css']) cpSync(`src/${name}`, `dist/${name}`);
const runtime = 'node_modules/onnxruntime-web/dist';
for (const name of readdirSync(runtime).filter((n) => /^ort-wasm-simd-threaded\.(wasm|mjs)$/.test(n))) {
  cpSync(`${runtime}/${name}`, `dist/${name}`);
}
