/** What the daemon does for each request. */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { PROTOCOL_VERSION, type Method, type methods, type Result } from '../protocol/daemon.ts';
import type { RankReport, RankTask } from '../protocol/rank.ts';
import type { z } from 'zod';
import { setLargeLogAside } from './log-file.ts';
import { RankProcess } from './rank-process.ts';
import { DaemonError } from './daemon-error.ts';
import type { RunRegistry } from './run-registry.ts';
import type { Store } from './store.ts';

/** What a handler gets beside its parameters. */
export interface RequestContext {
  /** Sends a partial answer. */
  progress(value: unknown): void;
  /** Aborted when the client cancels. */
  readonly signal: AbortSignal;
}

/** One handler per method but `cancel`, which the server answers. */
export type Handlers = {
  [M in Exclude<Method, 'cancel'>]: (
    params: z.output<(typeof methods)[M]['params']>,
    context: RequestContext,
  ) => Result<M> | Promise<Result<M>>;
};

/** What the handlers work on. */
export interface DaemonParts {
  readonly registry: RunRegistry;
  readonly store: Store;
  readonly home: string;
  readonly version: string;
  readonly startedAt: number;
  endpoints(): { requests: string; events: string };
  publishRemoved(run: string): void;
  /** Ends the daemon once the answer is out. */
  shutdown(): void;
}

/** Longest piece of a log in one answer, bytes. */
const LOG_PIECE = 256 * 1024;

/** Bytes of a UTF-8 text up to the last character that is not cut off. */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue; // inside a character
    const size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return size > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** The handlers of one daemon. */
export function createHandlers(parts: DaemonParts): Handlers {
  const { registry, store } = parts;

  /** The newest weights of a run (a running one writes a checkpoint first) or a checkpoint folder. */
  async function checkpointOf(target: string): Promise<string> {
    if (isAbsolute(target)) {
      if (existsSync(join(target, 'manifest.json'))) return target;
      throw new DaemonError('not-found', `${target} is not a checkpoint: it has no manifest.json`);
    }
    const run = registry.find(target);
    if (run.isRunning) {
      try {
        return await run.checkpoint();
      } catch (error) {
        // The run may have ended meanwhile, with a checkpoint of its own.
        if (run.summary.checkpoint === null) throw new DaemonError('failed', (error as Error).message);
      }
    }
    if (run.summary.checkpoint === null) {
      throw new DaemonError('wrong-state', `Run ${target} has no checkpoint: it ended before its first`);
    }
    return run.summary.checkpoint;
  }

  /** Runs a short task in a process of its own. */
  async function perform(
    task: RankTask,
    { signal }: RequestContext,
    onReport: (report: RankReport) => void = () => undefined,
  ): Promise<unknown> {
    const throwIfCancelled = (): void => {
      if (signal.aborted) throw new DaemonError('failed', 'The request was cancelled');
    };
    throwIfCancelled();
    let result: unknown;
    const log = join(parts.home, 'tasks.log');
    setLargeLogAside(log);
    const rank = new RankProcess(task, log, (report) => {
      if (report.type === 'result') result = report.result;
      else onReport(report);
    });
    const cancel = (): void => rank.kill();
    signal.addEventListener('abort', cancel);
    const { error } = await rank.ended;
    signal.removeEventListener('abort', cancel);
    throwIfCancelled();
    if (error !== undefined) throw new DaemonError('failed', error);
    return result;
  }

  return {
    hello({ protocol }) {
      if (protocol !== PROTOCOL_VERSION) {
        throw new DaemonError(
          'protocol-mismatch',
          `The running daemon (gpt-lab ${parts.version}) speaks protocol ${PROTOCOL_VERSION}, this client ${protocol}: stop it with \`gpt-lab daemon stop\` when its runs have ended`,
        );
      }
      return { version: parts.version, protocol: PROTOCOL_VERSION, pid: process.pid, home: parts.home };
    },
    'run.start': async ({ config, baseDirectory, source }) => {
      const run = await registry.start({
        config,
        baseDirectory,
        ...(source === undefined ? {} : { source }),
      });
      return { run: run.summary.run };
    },
    'run.resume': ({ run }) => ({ run: registry.resume(run).summary.run }),
    'run.list': () => registry.list().map((run) => run.summary),
    'run.show': ({ run }) => {
      const { summary, config, rankStates } = registry.find(run);
      return { ...summary, config, ranks: rankStates };
    },
    'run.stop': async ({ run, force }) => {
      const found = registry.find(run);
      if (!found.isRunning)
        throw new DaemonError('wrong-state', `Run ${run} is not running: it is ${found.summary.state}`);
      await found.stop({ force });
      return found.summary;
    },
    'run.remove': async ({ run }) => {
      await registry.remove(run);
      parts.publishRemoved(run);
      return {};
    },
    'run.events': ({ run, from, limit }) => {
      registry.find(run);
      const events = store.events(run, from, limit);
      return { events, next: (events.at(-1)?.sequence ?? from - 1) + 1 };
    },
    'run.logs': async ({ run, offset }) => {
      const file = await open(registry.find(run).logFile, 'r').catch(() => undefined);
      if (file === undefined) return { text: '', offset };
      try {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(LOG_PIECE), 0, LOG_PIECE, offset);
        const length = wholeCharacters(buffer.subarray(0, bytesRead));
        return { text: buffer.toString('utf8', 0, length), offset: offset + length };
      } finally {
        await file.close();
      }
    },
    'run.checkpoint': async ({ run }) => {
      const found = registry.find(run);
      if (!found.isRunning)
        throw new DaemonError('wrong-state', `Run ${run} is not running: it is ${found.summary.state}`);
      try {
        return { path: await found.checkpoint() };
      } catch (error) {
        throw new DaemonError('failed', (error as Error).message);
      }
    },
    generate: async ({ target, ...sampling }, context) => {
      const task: RankTask = { task: 'generate', checkpoint: await checkpointOf(target), ...sampling };
      const result = await perform(task, context, (report) => {
        if (report.type === 'text') context.progress({ text: report.text });
      });
      return result as Result<'generate'>;
    },
    evaluate: async ({ target, text }, context) => {
      const cacheDirectory = join(parts.home, 'cache');
      const task: RankTask = {
        task: 'evaluate',
        checkpoint: await checkpointOf(target),
        text,
        cacheDirectory,
      };
      return (await perform(task, context)) as Result<'evaluate'>;
    },
    'daemon.status': () => ({
      pid: process.pid,
      version: parts.version,
      endpoints: parts.endpoints(),
      home: parts.home,
      uptimeSeconds: (Date.now() - parts.startedAt) / 1000,
      running: registry.running().length,
    }),
    'daemon.stop': async ({ force }) => {
      const running = registry.running();
      if (running.length > 0 && !force) {
        const names = running.map((run) => run.summary.run).join(', ');
        throw new DaemonError(
          'wrong-state',
          `${running.length} run(s) go on (${names}): stop them first, or use force`,
        );
      }
      await registry.close();
      parts.shutdown();
      return {};
    },
  };
}
