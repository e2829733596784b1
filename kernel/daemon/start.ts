/** Starting the daemon: detached, so that it outlives whoever asked for it. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { distFile } from '../home.ts';
import type { ConnectionFile } from '../protocol/daemon.ts';
import { readConnectionFile } from './connection.ts';
import { DaemonError } from './daemon-error.ts';
import { setLargeLogAside } from './log-file.ts';

/** Longest wait for a daemon to come up, ms. */
const DEADLINE = 20_000;
/**
 * A daemon that ends with 0 has found another at work on the same home, one that is starting, whose file is about to
 * appear, or ending: after this time the next attempt is made, ms.
 */
const RELAUNCH = 500;
/** A daemon process that has been started; `exit` is how it ended, once it has. */
interface Launch {
  exit: number | string | undefined;
}

function launch(home: string, logPath: string): Launch {
  setLargeLogAside(logPath);
  const log = openSync(logPath, 'a', 0o600);
  const child = spawn(process.execPath, [distFile('kernel', 'daemon.js')], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: home,
    env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', GPT_LAB_HOME: home },
  });
  closeSync(log);
  const launched: Launch = { exit: undefined };
  child.on('exit', (code, signal) => (launched.exit = code ?? signal ?? 'unknown'));
  child.on('error', (error) => (launched.exit = error.message));
  child.unref();
  return launched;
}

/** Starts a daemon and resolves when it can be reached. Throws a DaemonError with the end of its log when it ends instead. */
export async function startDaemon(home: string): Promise<ConnectionFile> {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const logPath = join(home, 'daemon.log');
  let launched = launch(home, logPath);
  const deadline = Date.now() + DEADLINE;
  let relaunch = Infinity;
  while (Date.now() < deadline) {
    const file = readConnectionFile(home);
    if (file !== undefined) return file;
    if (launched.exit === 0 && relaunch === Infinity) relaunch = Date.now() + RELAUNCH;
    else if (launched.exit !== undefined && launched.exit !== 0) break;
    if (Date.now() >= relaunch) {
      launched = launch(home, logPath);
      relaunch = Infinity;
    }
    await setTimeout(20);
  }
  const tail = readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-8).join('\n');
  const what =
    launched.exit === undefined || launched.exit === 0
      ? `did not answer within ${DEADLINE / 1000} s`
      : `ended at once (${launched.exit})`;
  throw new DaemonError('failed', `The training daemon ${what}. The end of ${logPath}:\n${tail}`);
}
