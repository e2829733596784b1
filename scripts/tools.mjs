/** What the scripts share. No dependencies: these run in a bare clone on any Node >= 20. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Node 24 from npm: what tests and processes run on, whatever Node the user has. */
export const node24 = join(
  root,
  'node_modules',
  'node',
  'bin',
  process.platform === 'win32' ? 'node.exe' : 'node',
);

const advice = {
  cargo:
    'A Rust tool chain is needed to build the engine: install it from https://rustup.rs and run this again.',
};

/** Throws one sentence that says what is missing and how to get it. */
export function requireTool(name) {
  if (spawnSync(name, ['--version'], { stdio: 'ignore' }).status !== 0) throw new Error(advice[name]);
}

export function requireNode() {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new Error(
      `Node 20 or newer is needed and this is ${process.version}: install it from https://nodejs.org and run this again.`,
    );
  }
}

/** Runs `action` under a title and prints how long it took. */
export async function step(title, action) {
  const start = Date.now();
  process.stderr.write(`\u2022 ${title} …\n`);
  const result = await action();
  process.stderr.write(`  ${title}: ${((Date.now() - start) / 1000).toFixed(1)} s\n`);
  return result;
}

/** Ends the script with the message alone: a stack helps nobody who only lacks a tool. */
export function fail(error) {
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

/** Runs a command with its output shown; throws when it fails. */
export function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (done.error) throw done.error;
  if (done.status !== 0)
    throw new Error(`\`${[command, ...args].join(' ')}\` failed (${done.signal ?? done.status}).`);
}

/** `npm ci`, unless node_modules already matches the lock file. */
export async function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(root, 'node_modules', '.gpt-lab-lock');
  if (existsSync(node24) && existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  await step('Installing packages', () => run('npm', ['ci', '--loglevel=error', '--no-audit', '--no-fund']));
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
}

/** A bare clone becomes a built one: checks the tool chain, installs packages, builds. */
export async function prepare() {
  requireNode();
  requireTool('cargo');
  await installPackages();
  run(node24, [join('scripts', 'build.mjs')]);
}
