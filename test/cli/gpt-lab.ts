/** Runs the real `gpt-lab` in a home folder of its own. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../kernel/home.ts';
import { killDaemon } from '../daemon-home.ts';

/** How a command has ended. */
export interface Outcome {
  /** Exit status; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Every line of stdout as JSON; fails when one is not. */
  json(): Record<string, unknown>[];
}

/** A command that goes on. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  /** Resolves when stdout and stderr together fit; rejects when the command ends before. */
  shows(text: RegExp): Promise<void>;
}

/** A folder with a text and a configuration, and the home folder of its runs. */
export interface Workplace {
  readonly folder: string;
  readonly home: string;
  start(...args: string[]): Running;
  run(...args: string[]): Promise<Outcome>;
  write(name: string, content: unknown): Promise<void>;
  end(): Promise<void>;
}

/** The command itself. */
export const gptLab = join(packageRoot(), 'scripts', 'gpt-lab.mjs');

const TEXT = 'the quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(60);

/** A configuration that trains in moments. */
export function tiny(steps: number): { training: Record<string, unknown> } & Record<string, unknown> {
  return {
    name: 'tiny',
    model: { layers: 1, width: 32, heads: 2, contextLength: 32 },
    data: { text: ['text.txt'], tokenizer: 'char', validation: 0.1 },
    training: { steps, batchSize: 2, sequenceLength: 16, evaluateEvery: 0, checkpointEvery: 0 },
    engine: { threads: 1 },
  };
}

/** Makes a workplace with `text.txt`, `tiny.json` (30 steps) and `endless.json`; `end` kills its daemon and removes it. */
export async function createWorkplace(): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), 'gpt-lab-cli-'));
  const home = join(folder, 'home');
  const children = new Set<ChildProcess>();
  const write = (name: string, content: unknown): Promise<void> =>
    writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  await write('text.txt', TEXT);
  await write('tiny.json', tiny(30));
  await write('endless.json', tiny(1_000_000));

  function start(...args: string[]): Running {
    const child = spawn(process.execPath, [gptLab, ...args], {
      cwd: folder,
      env: { ...process.env, GPT_LAB_HOME: home, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(child);
    return watch(child);
  }

  return {
    folder,
    home,
    start,
    run: (...args) => start(...args).ended,
    write,
    async end() {
      for (const child of children) child.kill('SIGKILL');
      await killDaemon(home);
      await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** Collects what a command writes. */
export function watch(child: ChildProcess): Running {
  let stdout = '';
  let stderr = '';
  let changed: () => void = () => undefined;
  // A piece may end within a character.
  child.stdout?.setEncoding('utf8');
  child.stderr?.setEncoding('utf8');
  child.stdout?.on('data', (data: string) => {
    stdout += data;
    changed();
  });
  child.stderr?.on('data', (data: string) => {
    stderr += data;
    changed();
  });
  const ended = (async (): Promise<Outcome> => {
    const [code] = (await once(child, 'close')) as [number | null];
    changed();
    return {
      code,
      stdout,
      stderr,
      json: () =>
        stdout
          .trimEnd()
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Record<string, unknown>),
    };
  })();
  return {
    child,
    ended,
    async shows(text) {
      while (!text.test(stdout + stderr)) {
        assert.ok(child.exitCode === null, `It ended without ${String(text)}:\n${stdout}${stderr}`);
        await new Promise<void>((resolve) => (changed = resolve));
      }
    },
  };
}
