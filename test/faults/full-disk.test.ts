import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectDaemon } from '../../kernel/daemon/client.ts';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
import { tinyConfiguration } from '../daemon-home.ts';

test('a full disk under the store ends the run with that reason, and the daemon lives on', async (context) => {
  const home = await mkdtemp(join(tmpdir(), 'gpt-lab-full-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', home]);
  if (mounted.status !== 0) {
    await rm(home, { recursive: true });
    context.skip('a small disk can only be mounted by root on Linux');
    return;
  }
  try {
    const text = join(home, 'text.txt');
    await writeFile(text, 'all work and no play makes jack a dull boy. '.repeat(40));
    const client = await connectDaemon({ home });
    const config = tinyConfiguration(text, 1_000_000);
    const { run } = await client.request('run.start', { config, baseDirectory: home });
    const failed = new Promise<string>((resolve) => {
      client.onRuns((message) => {
        if ('summary' in message && message.summary.state === 'failed') resolve(message.summary.error ?? '');
      });
    });
    assert.match(await failed, /store of runs cannot be written.*events from number \d+ on are not stored/);
    assert.equal((await client.request('run.show', { run })).state, 'failed');
    const refused = client.request('run.start', { config: { data: {} }, baseDirectory: home });
    await assert.rejects(refused, /neither text nor dummy/);
    client.close();
  } finally {
    const file = readConnectionFile(home);
    if (file) process.kill(file.pid, 'SIGKILL');
    spawnSync('umount', ['-l', home]);
    await rm(home, { recursive: true, force: true });
  }
});
