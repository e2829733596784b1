/** Commands about the training daemon. */
import { setTimeout } from 'node:timers/promises';
import type { Result } from '../protocol/daemon.ts';
import { connectDaemon } from '../daemon/client.ts';
import { DaemonError } from '../daemon/daemon-error.ts';
import type { DaemonClient } from '../daemon/client.ts';
import { homeDirectory } from '../home.ts';
import { ask } from '../lab/connection.ts';
import { formatDuration } from '../protocol/format.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';

/** Time in which a daemon that has agreed to stop closes its sockets, ms. */
const LAST_ANSWERS = 5_000;

/** A connection to the daemon if one runs; undefined when none does. Close it after use. */
export async function findDaemon(): Promise<DaemonClient | undefined> {
  try {
    return await connectDaemon({ start: false });
  } catch (error) {
    if (error instanceof DaemonError && error.code === 'not-found') return undefined;
    throw error;
  }
}

function tell(status: Result<'daemon.status'>, json: boolean): void {
  if (json) {
    printJson(status);
    return;
  }
  print(
    `The daemon runs: process ${status.pid}, version ${status.version}, for ${formatDuration(status.uptimeSeconds)}`,
  );
  print(`home      ${status.home}`);
  print(`requests  ${status.endpoints.requests}`);
  print(`events    ${status.endpoints.events}`);
  print(`running   ${status.running} run${status.running === 1 ? '' : 's'}`);
}

export const daemonStart = defineCommand({
  name: 'daemon start',
  summary: 'Start the training daemon; every command that needs it does so too',
  options: {},
  async run({ values }) {
    tell(await ask((client) => client.request('daemon.status', {})), values.json);
    return EXIT.done;
  },
});

export const daemonStatus = defineCommand({
  name: 'daemon status',
  summary: 'Show whether the daemon runs; exit status 1 when it does not',
  options: {},
  async run({ values }) {
    const client = await findDaemon();
    if (!client) {
      note(`No daemon runs for ${homeDirectory()}: \`gpt-lab daemon start\` starts one.`);
      return EXIT.failed;
    }
    try {
      tell(await client.request('daemon.status', {}), values.json);
    } finally {
      client.close();
    }
    return EXIT.done;
  },
});

export const daemonStop = defineCommand({
  name: 'daemon stop',
  summary: 'Stop the daemon; refused while runs go on',
  options: { force: { type: 'flag', help: 'stop runs that go on first, each with a checkpoint' } },
  async run({ values }) {
    const client = await findDaemon();
    if (!client) {
      note(`No daemon runs for ${homeDirectory()}.`);
      if (values.json) printJson({ stopped: false });
      return EXIT.done;
    }
    try {
      const { pid } = await client.request('daemon.status', {});
      await client.request('daemon.stop', { force: values.force });
      const ended = await Promise.race([
        client.closed.then(() => true),
        setTimeout(LAST_ANSWERS, false, { ref: false }),
      ]);
      if (!ended)
        throw new DaemonError(
          'failed',
          `The daemon (process ${pid}) has not ended within ${LAST_ANSWERS / 1000} s`,
        );
      if (values.json) printJson({ stopped: true, pid });
      else print(`The daemon (process ${pid}) has stopped`);
    } finally {
      client.close();
    }
    return EXIT.done;
  },
});
