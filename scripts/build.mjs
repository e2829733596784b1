/**
 * Builds everything into dist/: the Rust addon (cargo), the processes and the extension (esbuild, ES modules),
 * the renderer and webviews, and the type declarations that cells complete from.
 * `--watch` rebuilds the TypeScript parts; `--no-native` skips cargo.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { root, requireTool, step } from './tools.mjs';

const flags = new Set(process.argv.slice(2));

/** Every process and bundle: output name -> source. */
const processes = {
  cli: 'kernel/cli/main.ts',
  daemon: 'kernel/daemon/main.ts',
  rank: 'kernel/training/rank.ts',
  kernel: 'kernel/jupyter/supervisor.ts',
  runner: 'kernel/jupyter/runner/main.ts',
  'interrupt-worker': 'kernel/jupyter/runner/interrupt-worker.ts',
  language: 'kernel/jupyter/language/main.ts',
  lab: 'kernel/lab/gpt-lab.ts',
};

function buildNative() {
  requireTool('cargo');
  const crate = join(root, 'kernel', 'engine', 'native');
  const done = spawnSync('cargo', ['build', '--release', '--locked'], { cwd: crate, stdio: 'inherit' });
  if (done.status !== 0) throw new Error('cargo build failed: the messages above say why.');
  const library = {
    linux: 'libgpt_lab_native.so',
    darwin: 'libgpt_lab_native.dylib',
    win32: 'gpt_lab_native.dll',
  };
  const folder = join(root, 'dist', 'native');
  mkdirSync(folder, { recursive: true });
  // Aside and renamed: a running process may have the old file mapped.
  const target = join(folder, 'gpt-lab.node');
  copyFileSync(join(crate, 'target', 'release', library[process.platform]), `${target}.new`);
  renameSync(`${target}.new`, target);
}

/** esbuild's settings, one object per kind of bundle. */
function bundles() {
  const common = {
    bundle: true,
    logLevel: 'warning',
    sourcemap: true,
    legalComments: 'none',
    absWorkingDir: root,
  };
  return [
    {
      ...common,
      entryPoints: Object.entries(processes).map(([out, source]) => ({ in: source, out })),
      outdir: 'dist/kernel',
      platform: 'node',
      format: 'esm',
      target: 'node22',
      splitting: true,
      chunkNames: 'chunks/[name]-[hash]',
      external: ['zeromq', 'typescript'],
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
      },
    },
    {
      ...common,
      entryPoints: { extension: 'extension/extension.ts' },
      outdir: 'dist/extension',
      platform: 'node',
      format: 'esm',
      target: 'node22',
      // What is imported on demand (clients, sockets, validation) lies in files of its own: activation parses none of it.
      splitting: true,
      chunkNames: 'chunks/[name]-[hash]',
      minifySyntax: true,
      minifyWhitespace: true,
      external: ['vscode', 'zeromq'],
    },
    {
      ...common,
      entryPoints: { plot: 'webview/plot/renderer.ts' },
      outdir: 'dist/webview',
      platform: 'browser',
      format: 'esm',
      target: 'es2023',
      minify: !flags.has('--watch'),
      loader: { '.css': 'text' },
    },
  ];
}

async function buildTypeScript() {
  const esbuild = await import('esbuild');
  if (flags.has('--watch')) {
    for (const options of bundles()) await (await esbuild.context(options)).watch();
    return;
  }
  await Promise.all(bundles().map((options) => esbuild.build(options)));
  buildDeclarations();
  installPlugin();
}

/** TypeScript's server looks for the plugin that package.json names among the extension's packages. */
function installPlugin() {
  const target = join(root, 'node_modules', 'gpt-lab-typescript-plugin');
  mkdirSync(target, { recursive: true });
  for (const file of ['package.json', 'plugin.cjs'])
    copyFileSync(join(root, 'extension', 'typescript-plugin', file), join(target, file));
}

/** `dist/types`: what the language service shows of 'gpt-lab'. */
function buildDeclarations() {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['-p', 'kernel/lab/tsconfig.declarations.json'];
  const done = spawnSync(process.execPath, [tsc, ...options], { cwd: root, stdio: 'inherit' });
  if (done.status !== 0)
    throw new Error('Type declarations of kernel/lab could not be made: see the messages above.');
}

if (!flags.has('--no-native')) await step('Compiling the engine (Rust)', buildNative);
await step('Bundling TypeScript', buildTypeScript);
