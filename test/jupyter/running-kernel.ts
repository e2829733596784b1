/** A kernel of a test's own, spoken to through our client. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import type { ExecuteOptions, ExecuteReply } from '../../kernel/jupyter/client-messages.ts';
import { startKernel, type KernelClient } from '../../kernel/jupyter/client.ts';
import type { JupyterMessage } from '../../kernel/jupyter/wire.ts';

/** What came of one cell. */
export interface Run {
  readonly reply: ExecuteReply;
  readonly messages: readonly JupyterMessage[];
  readonly stdout: string;
  readonly stderr: string;
  /** Text of the result. */
  readonly result: unknown;
}

/** The kernel of a test file. */
export interface RunningKernel {
  readonly client: KernelClient;
  /** The notebook's folder. */
  readonly folder: string;
  run(code: string, options?: Partial<ExecuteOptions>): Promise<Run>;
  write(name: string, text: string): Promise<void>;
}

/** Starts a kernel in a folder of its own before the tests of a file and ends it after them. */
export function useKernel(env: Record<string, string> = {}): RunningKernel {
  let client: KernelClient | undefined;
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gpt-lab-notebook-'));
    client = await startKernel({ cwd: folder, env });
  });
  after(async () => {
    await client?.shutdown();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    get client() {
      if (!client) throw new Error('The kernel is started before the tests');
      return client;
    },
    get folder() {
      return folder;
    },
    run(code, options) {
      return run(this.client, code, options);
    },
    write: (name, text) => writeFile(join(folder, name), text),
  };
}

/** Runs a cell and collects what it does. */
export async function run(
  client: KernelClient,
  code: string,
  options: Partial<ExecuteOptions> = {},
): Promise<Run> {
  const messages: JupyterMessage[] = [];
  const reply = await client.execute(code, {
    ...options,
    onMessage: (message) => {
      messages.push(message);
      options.onMessage?.(message);
    },
  });
  const text = (name: string): string =>
    messages
      .filter(({ header, content }) => header.msg_type === 'stream' && content['name'] === name)
      .map(({ content }) => String(content['text']))
      .join('');
  const result = messages.find(({ header }) => header.msg_type === 'execute_result');
  const data = result?.content['data'] as Record<string, unknown> | undefined;
  return { reply, messages, stdout: text('stdout'), stderr: text('stderr'), result: data?.['text/plain'] };
}

/** Types of the messages of a cell, in order. */
export function typesOf({ messages }: Run): string[] {
  return messages.map(({ header }) => header.msg_type);
}
