/** Commands about runs: runs, show, logs, stop, remove. */
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { DaemonClient } from '../daemon/client.ts';
import { ask } from '../lab/connection.ts';
import { withoutConfig } from '../lab/follow.ts';
import { describeRun, runRows } from '../lab/run-text.ts';
import { textTable } from '../lab/table.ts';
import type { RankState, RunSummary } from '../protocol/events.ts';
import { findRun } from '../lab/find-run.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';

/** The run that `wanted` names. Throws NoSuchRun. */
export async function lookUp(client: DaemonClient, wanted: string): Promise<RunSummary> {
  return findRun(await client.request('run.list', {}), wanted);
}

export const runs = defineCommand({
  name: 'runs',
  summary: 'List all runs, newest first',
  options: {},
  async run({ values }) {
    const list = await ask((client) => client.request('run.list', {}));
    if (values.json) for (const run of list.toSorted((a, b) => b.createdAt - a.createdAt)) printJson(run);
    else if (list.length === 0) note('No runs yet: `gpt-lab train CONFIG.json` starts one.');
    else print(textTable(runRows(list, Date.now())));
    return EXIT.done;
  },
});

/** A row for each rank. */
function rankRows(ranks: readonly RankState[], pids: readonly number[]): string[][] {
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    ['RANK', 'PROCESS', 'STEP', 'MEMORY', 'PEAK', 'COMMUNICATING', 'WAITING', 'DOING'],
    ...ranks.map(({ rank, step, doing, tensorBytes, peakTensorBytes, ...shares }) => [
      ...[String(rank), String(pids[rank] ?? ''), String(step), megabytes(tensorBytes)],
      ...[
        megabytes(peakTensorBytes),
        percent(shares.communicationShare),
        percent(shares.waitingShare),
        doing,
      ],
    ]),
  ];
}

export const show = defineCommand({
  name: 'show',
  summary: 'Show how a run stands, and its configuration',
  positionals: ['RUN'],
  options: { ranks: { type: 'flag', help: 'show what each rank does, and its memory' } },
  async run({ values, positionals: [wanted = ''] }) {
    const shown = await ask(async (client) =>
      client.request('run.show', { run: (await lookUp(client, wanted)).run }),
    );
    if (values.json) {
      printJson(shown);
    } else if (values.ranks) {
      const { ranks = [], pids } = shown;
      if (ranks.length === 0) note(`${shown.name} has no ranks: it is ${shown.state}`);
      else print(textTable(rankRows(ranks, pids)));
    } else {
      print(describeRun(withoutConfig(shown)));
      print(`folder      ${shown.directory}`);
      print(`checkpoint  ${shown.checkpoint ?? 'none yet'}`);
      if (shown.pids.length > 0) print(`processes   ${shown.pids.join(', ')}`);
      if (shown.source !== undefined) print(`started by  ${shown.source}`);
      print(`created     ${new Date(shown.createdAt).toLocaleString()}`);
      print(`configuration ${inspect(shown.config, { depth: null, breakLength: 100 })}`);
    }
    return EXIT.done;
  },
});

/** How often a log is looked at while it grows, ms: the daemon announces events, not log lines. */
const LOG_INTERVAL = 500;

export const logs = defineCommand({
  name: 'logs',
  summary: 'Show what a run’s processes wrote to stdout and stderr',
  notes: 'With --json each line is an object with `line`.',
  positionals: ['RUN'],
  options: { follow: { type: 'flag', help: 'go on until the run has ended' } },
  async run({ values, positionals: [wanted = ''] }) {
    const { run } = await ask((client) => lookUp(client, wanted));
    const write = values.json ? jsonLines() : (text: string) => void process.stdout.write(text);
    let offset = 0;
    for (;;) {
      // Asked before reading, so that what is written before the end is read after it.
      const { state } = await ask((client) => client.request('run.show', { run }));
      for (;;) {
        const from = offset;
        const part = await ask((client) => client.request('run.logs', { run, offset: from }));
        if (part.text === '') break;
        write(part.text);
        offset = part.offset;
      }
      if (!values.follow || state !== 'running') break;
      await delay(LOG_INTERVAL);
    }
    write('');
    return EXIT.done;
  },
});

/** Prints each complete line as an object; an empty text flushes the rest. */
function jsonLines(): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = text === '' ? '' : (lines.pop() ?? '');
    for (const line of lines) if (text !== '' || line !== '') printJson({ line });
  };
}

export const stop = defineCommand({
  name: 'stop',
  summary: 'Stop a run after its current step with a checkpoint',
  positionals: ['RUN'],
  options: {
    force: { type: 'flag', help: 'at once: the steps since the newest checkpoint are lost' },
  },
  async run({ values, positionals: [wanted = ''] }) {
    const summary = await ask(async (client) =>
      client.request('run.stop', { run: (await lookUp(client, wanted)).run, force: values.force }),
    );
    if (values.json) printJson(summary);
    else print(describeRun(summary));
    return EXIT.done;
  },
});

export const remove = defineCommand({
  name: 'remove',
  summary: 'Delete a run that has ended: metrics, log and checkpoints',
  positionals: ['RUN'],
  options: {},
  async run({ values, positionals: [wanted = ''] }) {
    const { run, name } = await ask(async (client) => {
      const found = await lookUp(client, wanted);
      await client.request('run.remove', { run: found.run });
      return found;
    });
    if (values.json) printJson({ removed: run });
    else print(`${name} (${run}) is removed`);
    return EXIT.done;
  },
});
