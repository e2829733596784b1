import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectDaemon, type DaemonClient } from '../../kernel/daemon/client.ts';
import {
  assertNumbered,
  createTestHome,
  eventsOf,
  killDaemon,
  summaryThat,
  tinyConfiguration,
  until,
} from '../daemon-home.ts';

/** Runs `use` with a daemon whose home is a disk of `size`, which can be made larger. */
async function onSmallDisk(
  context: TestContext,
  size: string,
  use: (client: DaemonClient, home: string, enlarge: (size: string) => void) => Promise<void>,
): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'gpt-lab-full-'));
  const mount = (...options: string[]): number | null => spawnSync('mount', [...options, home]).status;
  if (mount('-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs') !== 0) {
    await rm(home, { recursive: true });
    context.skip('a small disk can only be mounted by root on Linux');
    return;
  }
  const client = await connectDaemon({ home });
  try {
    await use(client, home, (larger) => assert.equal(mount('-o', `remount,size=${larger}`), 0));
  } finally {
    client.close();
    await killDaemon(home);
    spawnSync('umount', ['-l', home]);
    await rm(home, { recursive: true, force: true });
  }
}

test('a full disk under the store ends the run with that reason, and what is pending is stored when there is room', async (context) => {
  const elsewhere = await createTestHome();
  await onSmallDisk(context, '3m', async (client, home, enlarge) => {
    const small = tinyConfiguration(elsewhere.text, 2);
    const { run: other } = await client.request('run.start', { config: small, baseDirectory: home });
    await eventsOf(client, other);
    const config = tinyConfiguration(elsewhere.text, 1_000_000);
    const { run } = await client.request('run.start', { config, baseDirectory: home });
    const before = await eventsOf(client, run);
    assertNumbered(before);
    assert.ok(before.length > 100);
    const failed = await client.request('run.show', { run });
    assert.equal(failed.state, 'failed');
    assert.match(failed.error ?? '', /store of runs cannot be written.*Free disk space, then resume/);
    await client.request('run.remove', { run: other });
    enlarge('40m');
    const { lastSequence } = await summaryThat(
      client,
      run,
      (summary) => summary.lastSequence > before.length,
    );
    const after = await eventsOf(client, run);
    assertNumbered(after);
    assert.equal(after.length, lastSequence);
    const end = after.at(-1);
    assert.ok(end?.event === 'end' && end.status === 'failed');
    await client.request('run.resume', { run });
    await until(client, run, 'step', lastSequence + 1);
  });
  await elsewhere.end();
});

test('a checkpoint that does not fit costs a warning, not the run, and leaves nothing behind', async (context) => {
  const elsewhere = await createTestHome();
  await onSmallDisk(context, '4m', async (client, home) => {
    // 12 bytes a parameter: 1.6 million of them are 19 MB.
    const config = {
      ...tinyConfiguration(elsewhere.text, 3),
      model: { layers: 2, width: 256, heads: 4, contextLength: 32 },
    };
    const { run } = await client.request('run.start', { config, baseDirectory: home });
    const warning = await until(client, run, 'warning');
    assert.equal(warning.code, 'checkpoint-failed');
    assert.match(warning.message, /step 3 could not be written: .*no space left/i);
    const end = await until(client, run, 'end');
    assert.equal(end.status, 'finished');
    const { directory } = await client.request('run.show', { run });
    assert.deepEqual(await readdir(join(directory, 'checkpoints')), []);
  });
  await elsewhere.end();
});
