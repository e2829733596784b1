/** The connection file: how clients find the daemon, and how they tell a living one from a stale file. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectionFile, type ConnectionFile } from '../protocol/daemon.ts';

/** Where the file lies in a home folder. */
export function connectionPath(home: string): string {
  return join(home, 'daemon.json');
}

/** When a process started, as the system tells it; null where it does not. Tells a recycled pid apart. */
export function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; the start time is field 22, the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Writes the file with mode 0600, aside and renamed. */
export function writeConnectionFile(home: string, content: ConnectionFile): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const aside = `${connectionPath(home)}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(content, null, 2), { mode: 0o600 });
  renameSync(aside, connectionPath(home));
}

/** Removes the file, if it still is that of process `pid`. */
export function removeConnectionFile(home: string, pid: number): void {
  if (readConnectionFile(home)?.pid === pid) rmSync(connectionPath(home), { force: true });
}

/** The file's content when it names a living daemon; undefined when there is none or the file is stale. */
export function readConnectionFile(home: string): ConnectionFile | undefined {
  let text: string;
  try {
    text = readFileSync(connectionPath(home), 'utf8');
  } catch {
    return undefined;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = connectionFile.safeParse(value);
  if (!parsed.success) return undefined;
  const { pid, processStart: started } = parsed.data;
  const stale = !isAlive(pid) || (started !== null && processStart(pid) !== started);
  return stale ? undefined : parsed.data;
}
