/**
 * The lab in the browser: a workbench with the extension and `samples/` open, and a door to it. The workbench asks for a
 * password, since other users of this machine can reach 127.0.0.1 too; the address that is printed carries a token, for
 * which the door signs the browser in.
 */
import { spawn } from 'node:child_process';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import {
  cacheFolder,
  installExtension,
  installWorkbench,
  seedSettings,
  startWorkbench,
} from './workbench.mjs';
import { step } from './tools.mjs';

/** A browser keeps a window's state by its address, so the port should be the same the next time. */
const PORT = 8720;

/** Opens `folder` in the browser with the extension installed; resolves when the workbench has been stopped. */
export async function openBrowser(vsix, folder) {
  const program = await installWorkbench();
  const home = join(cacheFolder(), 'workbench');
  const profile = { data: join(home, 'data'), extensions: join(home, 'extensions') };
  // The folder's README greets: what to open first, and by the time it is read notebooks are known to the window.
  seedSettings(profile.data, { 'workbench.startupEditor': 'readme' });
  await step('Installing the extension', () => installExtension(program, vsix, profile));
  const password = randomBytes(24).toString('base64url');
  // Until there is something to stop, a signal just ends this process, and what it has started with it.
  let stop = () => process.exit(130);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => stop());
  const port = await freePort(PORT);
  const workbench = await step('Starting VS Code', () =>
    startWorkbench(program, { profile, password, port }),
  );
  const door = await openDoor(
    workbench.url,
    password,
    `${workbench.url}/?${new URLSearchParams({ folder })}`,
  );
  let stopping = false;
  stop = () => {
    stopping = true;
    door.close();
    void workbench.stop();
  };
  process.stdout.write(
    `\nGPT Lab is open at\n\n  ${door.url}\n\nCtrl-C stops it. Runs go on in the daemon.\n`,
  );
  showInBrowser(door.url);
  await workbench.ended;
  door.close();
  if (!stopping) throw new Error('VS Code ended by itself: run `npm start` again.');
}

/** `preferred` when nothing listens there, else 0 for any. */
function freePort(preferred) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen(preferred, '127.0.0.1', () => probe.close(() => resolve(preferred)));
  });
}

/** Serves `/?token=…`: signs the browser in and sends it on. */
async function openDoor(workbench, password, place) {
  const token = randomBytes(24).toString('hex');
  // Any process of the machine may call: what it sends must not end this one.
  const isToken = (address) => {
    const given = URL.canParse(address, 'http://localhost')
      ? new URL(address, 'http://localhost').searchParams.get('token')
      : null;
    const [a, b] = [Buffer.from(given ?? ''), Buffer.from(token)];
    return a.length === b.length && timingSafeEqual(a, b);
  };
  const server = createServer((request, response) => {
    if (!isToken(request.url)) {
      response.writeHead(403).end('Open the whole address that `npm start` printed: its token is missing.\n');
      return;
    }
    // Cookies belong to a host, whatever the port: the one that the workbench sets here is sent to it.
    fetch(`${workbench}/login`, {
      method: 'POST',
      redirect: 'manual',
      body: new URLSearchParams({ password }),
    })
      .then(({ headers }) => {
        response.writeHead(302, { location: place, 'set-cookie': headers.getSetCookie() }).end();
      })
      .catch((error) => response.writeHead(502).end(`VS Code does not answer: ${error.message}\n`));
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/?token=${token}`, close: () => server.close() };
}

/** Opens the system's browser where there is a screen; the printed address serves everybody else. */
function showInBrowser(url) {
  const screen = process.platform !== 'linux' || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
  if (!screen || process.env.CI) return;
  const [command, ...args] = { darwin: ['open'], win32: ['cmd', '/c', 'start', ''] }[process.platform] ?? [
    'xdg-open',
  ];
  const child = spawn(command, [...args, url], { stdio: 'ignore', detached: true });
  child.once('error', () => undefined);
  child.unref();
}
