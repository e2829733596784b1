/** A home folder of a test's own, with its daemon ended and all of it removed afterwards. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectDaemon, type DaemonClient } from '../kernel/daemon/client.ts';
import { readConnectionFile } from '../kernel/daemon/connection.ts';

/** A text long enough for the tiny model. */
const TEXT = 'the quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(40);

/** A home folder and what belongs to it. */
export interface TestHome {
  readonly home: string;
  /** A text file in it. */
  readonly text: string;
  /** A new connection to its daemon, closed at the end. */
  connect(): Promise<DaemonClient>;
  end(): Promise<void>;
}

/** Makes a home folder; `end` kills its daemon and removes it. */
export async function createTestHome(): Promise<TestHome> {
  const home = await mkdtemp(join(tmpdir(), 'gpt-lab-home-'));
  const text = join(home, 'text.txt');
  await writeFile(text, TEXT);
  const clients: DaemonClient[] = [];
  return {
    home,
    text,
    connect: async () => {
      const client = await connectDaemon({ home });
      clients.push(client);
      return client;
    },
    end: async () => {
      for (const client of clients) client.close();
      const file = readConnectionFile(home);
      if (file) process.kill(file.pid, 'SIGKILL');
      await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** A model that trains in milliseconds; `steps` decides how long a run lives. */
export function tinyConfiguration(text: string, steps: number): Record<string, unknown> {
  return {
    name: 'tiny',
    model: { layers: 1, width: 32, heads: 2, contextLength: 32 },
    data: { text: [text], tokenizer: 'byte', validation: 0.1 },
    training: { steps, batchSize: 2, sequenceLength: 16, evaluateEvery: 0, checkpointEvery: 0 },
    engine: { threads: 1 },
  };
}

/** Resolves when no process has that pid any more; rejects after 20 s. */
export async function processGone(pid: number): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    if (Date.now() > deadline) throw new Error(`Process ${pid} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
