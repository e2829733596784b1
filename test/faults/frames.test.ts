/** What reaches the daemon's sockets and is no request: keys, frames, parameters. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import * as zeromq from 'zeromq';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
import type { ConnectionFile } from '../../kernel/protocol/daemon.ts';
import { createTestHome, refused, type TestHome } from '../daemon-home.ts';

let lab: TestHome;
let client: DaemonClient;
let file: ConnectionFile;
beforeEach(async () => {
  lab = await createTestHome();
  client = await lab.connect();
  const found = readConnectionFile(lab.home);
  assert.ok(found);
  file = found;
});
afterEach(() => lab.end());

/** The daemon's log once it holds `text`; every entry is written before the next request is answered. */
async function assertLogged(text: RegExp): Promise<void> {
  await client.request('daemon.status', {});
  assert.match(await readFile(join(lab.home, 'daemon.log'), 'utf8'), text);
}

/** The keys of a client that has read the connection file. */
const invited = (): zeromq.SocketOptions<zeromq.Dealer> => ({
  curveServerKey: file.serverPublicKey,
  curvePublicKey: file.clientPublicKey,
  curveSecretKey: file.clientSecretKey,
  linger: 0,
});

/** The keys of one who knows where the daemon is but has not read the file. */
function stranger(): zeromq.SocketOptions<zeromq.Dealer> {
  const { publicKey, secretKey } = zeromq.curveKeyPair();
  return {
    curveServerKey: file.serverPublicKey,
    curvePublicKey: publicKey,
    curveSecretKey: secretKey,
    linger: 0,
  };
}

/** How the handshake of a socket ends. */
function handshake(socket: zeromq.Dealer | zeromq.Subscriber): Promise<string> {
  return new Promise((resolve) => {
    const ends = ['handshake', 'handshake:error:auth', 'handshake:error:protocol', 'disconnect'] as const;
    for (const kind of ends) socket.events.on(kind, () => resolve(kind));
  });
}

test('who has not the key of the connection file is refused, on both sockets, and the daemon lives on', async () => {
  for (const [socket, endpoint] of [
    [new zeromq.Dealer(stranger()), file.requests],
    [new zeromq.Subscriber(stranger()), file.events],
  ] as const) {
    const end = handshake(socket);
    socket.connect(endpoint);
    assert.equal(await end, 'handshake:error:auth');
    socket.close();
  }
  await assertLogged(/Refused 1 connection.*has not the key of daemon\.json/);
});

test('who does not encrypt is refused', async () => {
  const dealer = new zeromq.Dealer({ linger: 0 });
  const end = handshake(dealer);
  dealer.connect(file.requests);
  assert.match(await end, /handshake:error:protocol|disconnect/);
  dealer.close();
  await client.request('daemon.status', {});
});

test('frames that are no request are dropped and logged, what comes after them is answered', async () => {
  const dealer = new zeromq.Dealer(invited());
  dealer.connect(file.requests);
  await dealer.send('not json');
  await dealer.send(['too', 'many', 'frames']);
  await dealer.send('');
  await dealer.send(JSON.stringify({ no: 'id' }));
  await dealer.send(JSON.stringify({ id: 'seven', method: 'run.list', params: {} }));
  await dealer.send(Buffer.from([0xff, 0xfe, 0x00]));
  await dealer.send(JSON.stringify({ id: 7, method: 'daemon.status', params: {} }));
  const [frame] = await dealer.receive();
  assert.equal((JSON.parse(String(frame)) as { id: number }).id, 7);
  dealer.close();
  await assertLogged(/not JSON \(8 bytes\)[^]*message of 4 frames[^]*without a number/);
});

test('a message larger than any request disconnects its sender, and the daemon lives on', async () => {
  const dealer = new zeromq.Dealer(invited());
  const end = new Promise((resolve) => dealer.events.on('disconnect', resolve));
  dealer.connect(file.requests);
  await dealer.send(Buffer.alloc(17 * 2 ** 20));
  await end;
  dealer.close();
  await client.request('daemon.status', {});
});

test('unknown methods and bad parameters are refused with what is allowed', async () => {
  const dealer = new zeromq.Dealer(invited());
  dealer.connect(file.requests);
  const answer = async (method: string, params: unknown): Promise<{ code: string; message: string }> => {
    await dealer.send(JSON.stringify({ id: 1, method, params }));
    const [frame] = await dealer.receive();
    return (JSON.parse(String(frame)) as { error: { code: string; message: string } }).error;
  };
  const unknown = await answer('run.fly', {});
  assert.equal(unknown.code, 'unknown-method');
  assert.match(unknown.message, /no method "run\.fly": allowed are hello, run\.start/);
  const inherited = await answer('toString', {});
  assert.equal(inherited.code, 'unknown-method');
  const invalid = await answer('run.events', { run: 'x', from: -1, limit: 1e9 });
  assert.equal(invalid.code, 'invalid-parameters');
  assert.match(invalid.message, /from: .*; limit: /);
  const none = await answer('run.show', undefined);
  assert.equal(none.code, 'invalid-parameters');
  await dealer.send(JSON.stringify({ id: 2, method: 5 }));
  const [frame] = await dealer.receive();
  const { id, error } = JSON.parse(String(frame)) as { id: number; error: { code: string } };
  assert.deepEqual([id, error.code], [2, 'invalid-request']);
  dealer.close();
  await refused(client.request('run.show', { run: 'nothing' }), 'not-found', /no run nothing.*gpt-lab runs/);
});

test('a client of another protocol version is refused with advice', async () => {
  await refused(client.request('hello', { protocol: 99 }), 'protocol-mismatch', /daemon stop/);
});
