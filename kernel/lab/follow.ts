/** Follows a run to its end, through the loss of a daemon. */
import { setTimeout as delay } from 'node:timers/promises';
import { DaemonError } from '../daemon/daemon-error.ts';
import type { RunEvent, RunSummary } from '../protocol/events.ts';
import { ask, daemon } from './connection.ts';
import { LabError } from './errors.ts';

/** How often in a row a lost daemon is looked for again, with a growing pause, before the run is given up. */
const ATTEMPTS = 4;

/**
 * Batches of a run's events from number `from` (default 1) on, stored ones first, then live, until the run has ended;
 * returns its last summary. Throws LabError when the daemon refuses, the signal's reason when it aborts.
 */
export async function* followRun(
  run: string,
  options: { from?: number; signal?: AbortSignal } = {},
): AsyncGenerator<RunEvent[], RunSummary> {
  let next = options.from ?? 1;
  let failures = 0;
  for (;;) {
    try {
      const summary = await ask((client) => client.request('run.show', { run }));
      // Asked before each subscription: events of an earlier end may stand before those of a resumed run.
      if (summary.state !== 'running' && next > summary.lastSequence) return withoutConfig(summary);
      const client = await daemon();
      const { signal } = options;
      for await (const events of client.follow(run, { from: next, ...(signal ? { signal } : {}) })) {
        next = Math.max(next, (events.at(-1)?.sequence ?? 0) + 1);
        failures = 0;
        yield events;
      }
      options.signal?.throwIfAborted();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (isRefusal(error) || ++failures >= ATTEMPTS) throw error;
      console.warn(`The connection to the daemon was lost while following run ${run}: trying again`);
      await delay(250 * 2 ** failures);
    }
  }
}

/** The daemon answered, so asking again changes nothing; `failed` may be the loss of the connection. */
function isRefusal(error: unknown): boolean {
  const code = error instanceof LabError || error instanceof DaemonError ? error.code : 'failed';
  return code !== 'failed';
}

/** A summary out of what `run.show` answers. */
export function withoutConfig(shown: RunSummary & { config?: unknown }): RunSummary {
  const summary = { ...shown };
  delete summary.config;
  return summary;
}
