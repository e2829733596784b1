/**
 * VS Code in the browser: code-server from npm, built once into a cache outside the work tree and started on 127.0.0.1.
 * `npm start` shows it to people, the workbench tests drive it. Everything comes from the package registry.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { node24, step } from './tools.mjs';

/** Of VS Code 1.139; asks for Node 24. */
const VERSION = '4.139.1';
/** Native modules without which the workbench does not start; the others are for features that nobody misses here. */
const NATIVE = [
  'node-pty',
  '@vscode/spdlog',
  '@parcel/watcher',
  '@vscode/native-watchdog',
  '@vscode/sqlite3',
  '@vscode/fs-copyfile',
];
/** A workbench that has not announced its sockets by then will not, ms. */
const START_DEADLINE = 120_000;

/** Where what takes long to make is kept between clones: `GPT_LAB_CACHE`, or the platform's cache folder. */
export function cacheFolder() {
  if (process.env.GPT_LAB_CACHE) return process.env.GPT_LAB_CACHE;
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'gpt-lab');
  if (process.platform === 'win32') return join(process.env.LOCALAPPDATA ?? homedir(), 'gpt-lab', 'Cache');
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'gpt-lab');
}

/** Headers that travel with the Node from npm: without them node-gyp would download some. */
function nodeHeaders() {
  const packages = join(dirname(node24), '..', 'node_modules');
  const found = existsSync(packages) ? readdirSync(packages) : [];
  return found.map((name) => join(packages, name)).find((path) => existsSync(join(path, 'include', 'node')));
}

/** Runs npm quietly: what it says is shown only when it fails. */
function npm(args, cwd) {
  const headers = nodeHeaders();
  const done = spawnSync('npm', [...args, '--loglevel=error', '--no-audit', '--no-fund'], {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    env: {
      ...process.env,
      PATH: `${dirname(node24)}${delimiter}${process.env.PATH}`,
      ...(headers === undefined ? {} : { npm_config_nodedir: headers }),
    },
  });
  if (done.error) throw done.error;
  if (done.status !== 0) {
    const words = `${done.stdout}${done.stderr}`.trim().split('\n').slice(-30).join('\n');
    throw new Error(`\`npm ${args.join(' ')}\` failed in ${cwd}:\n${words}`);
  }
}

/**
 * Installs code-server into the cache unless it is there; returns its folder.
 * @returns {Promise<string>}
 */
export async function installWorkbench() {
  const name = `code-server-${VERSION}-${process.platform}-${process.arch}`;
  const installed = join(cacheFolder(), name);
  const program = join(installed, 'node_modules', 'code-server');
  if (existsSync(installed)) return program;
  // Made aside and renamed, so that an installation that was broken off is not taken for a whole one.
  const partial = join(cacheFolder(), `.${name}-${process.pid}`);
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, 'package.json'), '{ "private": true }\n');
  const inside = join(partial, 'node_modules', 'code-server');
  const vscode = join(inside, 'lib', 'vscode');
  // Scripts stay off: one dependency's would download from elsewhere than the registry.
  const install = ['install', '--omit=dev', '--ignore-scripts'];
  try {
    await step('Fetching VS Code for the browser (once)', () => {
      npm([...install, '--save-exact', `code-server@${VERSION}`], partial);
      npm([...install, '--legacy-peer-deps'], vscode);
      npm([...install, '--legacy-peer-deps'], join(vscode, 'extensions'));
    });
    await step('Compiling its native modules (once)', () => npm(['rebuild', ...NATIVE], vscode));
    try {
      renameSync(partial, installed);
    } catch (error) {
      // Another process was faster: its installation is as good.
      if (!existsSync(installed)) throw error;
    }
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return program;
}

const entry = (program) => join(program, 'out', 'node', 'entry.js');
const folders = ({ data, extensions }) => ['--user-data-dir', data, '--extensions-dir', extensions];

/**
 * Where a workbench keeps its state and its extensions.
 * @typedef {{ data: string, extensions: string }} Profile
 */

/**
 * Settings for a window in which only GPT Lab is new; a file that is there stays as its user left it.
 * @param {string} data
 * @param {Record<string, unknown>} settings
 */
export function seedSettings(data, settings = {}) {
  const file = join(data, 'User', 'settings.json');
  if (existsSync(file)) return;
  mkdirSync(dirname(file), { recursive: true });
  const seeded = {
    'workbench.startupEditor': 'none',
    'workbench.secondarySideBar.defaultVisibility': 'hidden',
    'chat.disableAIFeatures': true,
    'telemetry.telemetryLevel': 'off',
    'extensions.ignoreRecommendations': true,
    'notebook.output.wordWrap': true,
    'git.openRepositoryInParentFolders': 'never',
    // It would offer the sockets of our own processes.
    'remote.autoForwardPorts': false,
    ...settings,
  };
  writeFileSync(file, `${JSON.stringify(seeded, null, 2)}\n`);
}

/**
 * Installs a .vsix into a workbench's profile.
 * @param {string} program
 * @param {string} vsix
 * @param {Profile} profile
 */
export function installExtension(program, vsix, profile) {
  const args = [entry(program), '--install-extension', vsix, '--force', ...folders(profile)];
  const done = spawnSync(node24, args, {
    encoding: 'utf8',
    env: { ...process.env, VSCODE_IPC_HOOK_CLI: '' },
  });
  if (done.status !== 0) throw new Error(`${vsix} could not be installed:\n${done.stdout}${done.stderr}`);
}

/**
 * Starts a workbench on 127.0.0.1 (port 0: any that is free); resolves to its address when it answers, to `ended`, and to
 * `stop`, which ends it with its children. `password` null lets everybody on this machine in: for tests alone.
 * @param {string} program
 * @param {{ profile: Profile, password: string | null, port?: number, trust?: boolean, env?: Record<string, string> }} options
 * @returns {Promise<{ url: string, ended: Promise<unknown>, stop: (signal?: NodeJS.Signals) => Promise<void> }>}
 */
export async function startWorkbench(program, { profile, password, port = 0, trust = false, env = {} }) {
  const child = spawn(
    node24,
    [
      entry(program),
      ...(password === null ? ['--auth', 'none'] : ['--auth', 'password']),
      ...['--bind-addr', `127.0.0.1:${port}`, '--config', join(profile.data, 'config.yaml')],
      ...['--disable-telemetry', '--disable-update-check', '--disable-getting-started-override'],
      ...(trust ? [] : ['--disable-workspace-trust']),
      ...folders(profile),
    ],
    {
      // A group of its own: `stop` reaches what it has started as well.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        VSCODE_IPC_HOOK_CLI: '',
        ...(password === null ? {} : { PASSWORD: password }),
      },
    },
  );
  const ended = new Promise((resolve) => child.once('close', resolve));
  // A group of its own hears no Ctrl-C, and whoever started it may end before it has answered.
  const endWithUs = () => child.exitCode ?? child.kill('SIGTERM');
  process.once('exit', endWithUs);
  void ended.then(() => process.off('exit', endWithUs));
  const stop = async (signal = 'SIGTERM') => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It has ended already.
    }
    await ended;
  };
  const words = [];
  const url = await new Promise((resolve, reject) => {
    let address;
    let sessions = false;
    const timer = setTimeout(() => failed('it did not answer in time'), START_DEADLINE);
    const failed = (why) => {
      clearTimeout(timer);
      reject(new Error(`VS Code did not start: ${why}\n${words.slice(-20).join('\n')}`));
    };
    const read = (line) => {
      words.push(line);
      address ??= /HTTP server listening on (http:\/\/[\d.:]+)/.exec(line)?.[1];
      sessions ||= line.includes('Session server listening');
      if (address === undefined || !sessions) return;
      clearTimeout(timer);
      resolve(address);
    };
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', read);
    child.once('error', (error) => failed(error.message));
    child.once('close', (code) => failed(`exit code ${code}`));
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url, ended, stop };
}
