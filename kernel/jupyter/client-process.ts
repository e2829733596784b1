/** Starts a kernel's process for a client: free ports, a connection file, and its last words when it dies. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { distFile } from '../home.ts';
import type { ConnectionInfo } from './wire.ts';

/** So much of what a kernel wrote last is kept, characters. */
const LAST_WORDS = 4096;

/** How to start a kernel. */
export interface KernelOptions {
  /** Folder that relative paths in cells start from. */
  readonly cwd: string;
  readonly env?: Record<string, string>;
}

/** A connection of our own making; its ports were free a moment ago, all of them held at once so that they differ. */
export async function newConnection(): Promise<ConnectionInfo> {
  const servers = Array.from({ length: 5 }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  const [shell_port = 0, iopub_port = 0, stdin_port = 0, control_port = 0, hb_port = 0] = ports;
  return {
    transport: 'tcp',
    ip: '127.0.0.1',
    shell_port,
    iopub_port,
    stdin_port,
    control_port,
    hb_port,
    key: randomBytes(32).toString('hex'),
    signature_scheme: 'hmac-sha256',
  };
}

/** A kernel's process. */
export class KernelProcess {
  /** Resolves to how it ended, with its last words. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  #lastWords = '';

  constructor(connectionFile: string, { cwd, env }: KernelOptions) {
    const child = spawn(process.execPath, [distFile('kernel', 'kernel.js'), connectionFile], {
      cwd,
      env: {
        ...process.env,
        ...env,
        ELECTRON_RUN_AS_NODE: '1',
        // As Jupyter's clients say that a kernel is to end with them.
        JPY_PARENT_PID: String(process.pid),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr.on('data', (data: Buffer) => {
      this.#lastWords = (this.#lastWords + data.toString()).slice(-LAST_WORDS);
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string): void =>
        resolve([how, this.lastWords].filter((part) => part !== '').join('\n'));
      child.on('error', (error) => end(`It could not be started: ${error.message}`));
      // After its output has ended too, so that no word is lost.
      child.on('close', (code, signal) =>
        end(signal === null ? `exit code ${String(code)}` : `signal ${signal}`),
      );
    });
  }

  /** What it wrote to stderr last. */
  get lastWords(): string {
    return this.#lastWords.trim();
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Writes a connection file where only this user can read it, for as long as `use` runs. */
export async function withConnectionFile<T>(
  connection: ConnectionInfo,
  use: (file: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'gpt-lab-kernel-'));
  try {
    const file = join(folder, 'connection.json');
    await writeFile(file, JSON.stringify(connection), { mode: 0o600 });
    return await use(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
