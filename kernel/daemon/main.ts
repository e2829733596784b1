/** The training daemon: one per user and machine. It owns runs; windows, kernels and cells come and go. */
import { join } from 'node:path';
import { homeDirectory, packageVersion } from '../home.ts';
import { RUNS_TOPIC, runTopic } from '../protocol/daemon.ts';
import { processStart, readConnectionFile, removeConnectionFile, writeConnectionFile } from './connection.ts';
import { createHandlers } from './requests.ts';
import { RunRegistry } from './run-registry.ts';
import { newKeys, Server } from './server.ts';
import { Store, StoreLocked } from './store.ts';

/** Time that runs get to write a checkpoint when the system ends the daemon, ms. */
const LAST_CHECKPOINTS = 60_000;

/** Time without runs and requests after which the daemon ends itself, s. */
const IDLE_SECONDS = Number(process.env['GPT_LAB_IDLE_SECONDS'] ?? 600);
if (!(IDLE_SECONDS > 0)) {
  log(
    `GPT_LAB_IDLE_SECONDS is ${process.env['GPT_LAB_IDLE_SECONDS']}: allowed is a number of seconds above 0`,
  );
  process.exit(1);
}

function log(message: string): void {
  console.error(`${new Date().toISOString()} ${message}`);
}

function openStore(home: string): Store {
  try {
    return new Store(home);
  } catch (error) {
    if (!(error instanceof StoreLocked)) {
      log(`The run store in ${home} cannot be opened: ${(error as Error).message}`);
      process.exit(1);
    }
    const other = readConnectionFile(home);
    console.log(
      other === undefined
        ? `A training daemon for ${home} is already starting`
        : `A training daemon for ${home} already runs: process ${other.pid} at ${other.requests}`,
    );
    process.exit(0);
  }
}

const home = homeDirectory();
const version = packageVersion();
const store = openStore(home);
const keys = newKeys();
const server = new Server(keys, log);
await server.bind();

const registry = new RunRegistry(
  {
    store,
    cacheDirectory: join(home, 'cache'),
    publishEvents: (run, events) => server.publish(runTopic(run), events),
    publishSummary: (summary) => server.publish(RUNS_TOPIC, [{ summary }]),
    log,
  },
  join(home, 'runs'),
);

let stopping = false;
/** Stops runs with a checkpoint each, then ends. */
async function shutdown(why: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  log(`Ending: ${why}`);
  removeConnectionFile(home, process.pid);
  await registry.close(LAST_CHECKPOINTS);
  await server.close();
  store.close();
  process.exit(0);
}

const handlers = createHandlers({
  registry,
  store,
  home,
  version,
  startedAt: Date.now(),
  endpoints: () => server.endpoints,
  publishRemoved: (run) => server.publish(RUNS_TOPIC, [{ removed: run }]),
  shutdown: () => void setImmediate(() => void shutdown('a client asked for it')),
});
server
  .serve(handlers)
  .catch((error: unknown) => void shutdown(`requests cannot be served: ${String(error)}`));

writeConnectionFile(home, {
  format: 'gpt-lab-daemon',
  version: 1,
  pid: process.pid,
  processStart: processStart(process.pid),
  release: version,
  ...server.endpoints,
  serverPublicKey: keys.server.publicKey,
  clientPublicKey: keys.client.publicKey,
  clientSecretKey: keys.client.secretKey,
});
log(`gpt-lab ${version} daemon, process ${process.pid}, at ${server.endpoints.requests}`);

let lastBusyAt = Date.now();
setInterval(
  () => {
    if (server.answering > 0 || registry.running().length > 0) lastBusyAt = Date.now();
    const idle = (Date.now() - Math.max(server.lastRequestAt, lastBusyAt)) / 1000;
    if (idle >= IDLE_SECONDS) void shutdown(`idle for ${Math.round(idle)} s`);
  },
  Math.max(50, Math.min(10_000, IDLE_SECONDS * 250)),
);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void shutdown(signal));
// The terminal that started it may close.
process.on('SIGHUP', () => undefined);
process.on('unhandledRejection', (reason) =>
  log(`Unhandled rejection: ${String((reason as Error).stack ?? reason)}`),
);
// In a state that nobody foresaw: runs end with a checkpoint each, and the next client starts a fresh daemon.
process.on(
  'uncaughtException',
  (error) => void shutdown(`uncaught exception: ${error.stack ?? error.message}`),
);
