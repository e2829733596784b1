/** `gpt-lab train`: starts or resumes a run and follows it. */
import { dirname, isAbsolute, resolve } from 'node:path';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import { formatLoss } from '../protocol/format.ts';
import type { RunSummary } from '../protocol/events.ts';
import { findRun } from '../lab/find-run.ts';
import { ask } from '../lab/connection.ts';
import { LabError } from '../lab/errors.ts';
import { followRun, withoutConfig } from '../lab/follow.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';
import { differences, readConfiguration } from './configuration-file.ts';
import { Progress } from './progress.ts';

export const train = defineCommand({
  name: 'train',
  summary: 'Train a model as a JSON file says, and show how it goes',
  notes: [
    'The run lives in the daemon. Ctrl-C stops it after its current step with a checkpoint, from which',
    '`gpt-lab train --resume RUN` continues it; a second Ctrl-C leaves without waiting for that.',
    'With --resume the configuration is the run’s own; CONFIG.json may be left out, and must agree if given.',
    'With --json stdout carries the run’s events.',
  ].join('\n'),
  positionals: ['CONFIG.json?'],
  options: {
    set: { type: 'text', value: 'a.b=value', many: true, help: 'change one key of the configuration' },
    detach: { type: 'flag', help: 'return when the run has started; it goes on in the daemon' },
    resume: { type: 'text', value: 'RUN', help: 'continue a stopped, failed or interrupted run' },
  },
  async run({ values, positionals: [file] }) {
    const config = file === undefined ? undefined : readConfiguration(file, values.set);
    if (config === undefined && values.resume === undefined) throw new UsageError(['CONFIG.json is missing']);
    if (config === undefined && values.set.length > 0)
      throw new UsageError(['--set changes CONFIG.json, which is missing']);
    const base = file === undefined ? process.cwd() : dirname(resolve(file));
    const started =
      values.resume === undefined
        ? start(config, base, file === undefined ? undefined : resolve(file))
        : resume(values.resume, config, base);
    return values.detach ? leave(await started, values.json) : follow(started, values.json);
  },
});

/** A run that was just started or resumed, and the number of the first event that is new. */
interface Started {
  readonly summary: RunSummary;
  readonly from: number;
}

async function start(config: unknown, baseDirectory: string, source: string | undefined): Promise<Started> {
  return ask(async (client) => {
    const parameters = { config, baseDirectory, ...(source === undefined ? {} : { source }) };
    const { run } = await client.request('run.start', parameters);
    return { summary: withoutConfig(await client.request('run.show', { run })), from: 1 };
  });
}

async function resume(wanted: string, config: unknown, baseDirectory: string): Promise<Started> {
  return ask(async (client) => {
    const found = findRun(await client.request('run.list', {}), wanted);
    const shown = await client.request('run.show', { run: found.run });
    if (config !== undefined) checkSame(config, shown.config, baseDirectory, shown.run);
    await client.request('run.resume', { run: shown.run });
    const summary = withoutConfig(await client.request('run.show', { run: shown.run }));
    return { summary, from: shown.lastSequence + 1 };
  });
}

/** A resumed run keeps its configuration: a file that says something else is refused, not ignored. */
function checkSame(config: unknown, stored: unknown, baseDirectory: string, run: string): void {
  const resolved = resolveConfiguration(config);
  if ('problems' in resolved) throw new UsageError(resolved.problems);
  const { data, ...rest } = resolved.config;
  const text = data.text.map((path) => (isAbsolute(path) ? path : resolve(baseDirectory, path)));
  const different = differences(JSON.parse(JSON.stringify({ ...rest, data: { ...data, text } })), stored);
  if (different.length > 0)
    throw new UsageError(
      different.map((key) => `${key} differs from run ${run}, which is resumed as it was configured`),
    );
}

/** Says which run was started, and that is all. */
function leave({ summary }: Started, json: boolean): number {
  const { name, run } = summary;
  if (json) printJson(summary);
  else print(`${name} is run ${run}: \`gpt-lab show ${run}\` tells how it goes`);
  return EXIT.done;
}

/** Follows the run to its end; SIGINT stops it, a second one leaves it. */
async function follow(started: Promise<Started>, json: boolean): Promise<number> {
  let progress: Progress | undefined;
  let unsubscribe: () => void = () => undefined;
  const abort = new AbortController();
  // From the first moment: a run that is just being started is stopped as well.
  const interrupts = onInterrupt(
    started.then(({ summary }) => summary.run),
    (line) => (progress ? progress.line(line) : note(line)),
  );
  try {
    const beginning = await Promise.race([started, interrupts.left]);
    if (beginning === undefined) return EXIT.stopped;
    const { summary, from } = beginning;
    const { run, name, steps } = summary;
    const shown = new Progress(process.stderr, { name, steps });
    progress = shown;
    if (!json) {
      note(`${name} is run ${run}`);
      unsubscribe = await onPhase(run, (phase) => shown.phase(phase));
    }
    const events = followRun(run, { from, signal: abort.signal });
    for (;;) {
      const next = await Promise.race([events.next(), interrupts.left]);
      if (next === undefined) return EXIT.stopped;
      if (next.done) {
        if (!json) shown.end();
        return tellEnd(next.value, json);
      }
      if (json) for (const event of next.value) printJson(event);
      else shown.update(next.value);
    }
  } finally {
    abort.abort();
    unsubscribe();
    interrupts.end();
  }
}

/** Calls `take` with what the run does outside its steps, whenever that changes. */
export function onPhase(run: string, take: (phase: string | undefined) => void): Promise<() => void> {
  return ask((client) =>
    Promise.resolve(
      client.onRuns((message) => {
        if ('summary' in message && message.summary.run === run) take(message.summary.phase);
      }),
    ),
  );
}

function tellEnd(summary: RunSummary, json: boolean): number {
  const { name, run, state, step, steps } = summary;
  if (state === 'failed' || state === 'interrupted') {
    note(
      `${name} ${state === 'failed' ? 'has failed' : 'was interrupted'}: ${summary.error ?? 'no reason is known'}`,
    );
    note(`\`gpt-lab logs ${run}\` shows what its processes wrote`);
    return EXIT.failed;
  }
  if (!json) {
    const validation =
      summary.validationLoss === null ? '' : `, validation ${formatLoss(summary.validationLoss)}`;
    note(
      `${name} ${state === 'finished' ? 'has finished' : 'was stopped'} at step ${step} of ${steps}: loss ${formatLoss(summary.loss)}${validation}`,
    );
    if (state === 'stopped') note(`\`gpt-lab train --resume ${run}\` continues it`);
    if (summary.checkpoint !== null) note(`\`gpt-lab generate ${run} --prompt "…"\` lets it write`);
  }
  return state === 'stopped' ? EXIT.stopped : EXIT.done;
}

/** Two signals this close are one Ctrl-C that reached the process by two ways, ms. */
const ONE_INTERRUPT = 500;

/** First SIGINT: stop the run with a checkpoint. Second: `left` resolves. */
function onInterrupt(
  run: Promise<string>,
  say: (line: string) => void,
): { left: Promise<undefined>; end: () => void } {
  let leave: (nothing: undefined) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const left = new Promise<undefined>((resolve, fail) => ([leave, reject] = [resolve, fail]));
  left.catch(() => undefined); // raced against the run's events
  run.catch(() => undefined); // whoever awaits the start tells
  let first: number | undefined;
  const listener = (): void => {
    if (first === undefined) {
      first = Date.now();
      say('Stopping after this step with a checkpoint. Ctrl-C again leaves without waiting for it.');
      run
        .then((id) => ask((client) => client.request('run.stop', { run: id })))
        .catch((error: unknown) => {
          // It may have ended by itself meanwhile, which its events tell.
          if (!(error instanceof LabError && error.code === 'wrong-state')) reject(error);
        });
    } else if (Date.now() - first > ONE_INTERRUPT) {
      say('Left: the daemon goes on stopping the run');
      leave(undefined);
    }
  };
  process.on('SIGINT', listener);
  return { left, end: () => process.off('SIGINT', listener) };
}
