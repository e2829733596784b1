/** Where things are: the package's own files, and the folder that holds all state. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the package (a clone or the installed extension): the nearest one up with our package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest)) {
      const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string };
      if (name === 'gpt-lab') return folder;
    }
    const parent = dirname(folder);
    if (parent === folder)
      throw new Error('The files of gpt-lab are incomplete: no package.json above ' + import.meta.url);
    folder = parent;
  }
}

/** A built file under `dist/`, e.g. `distFile('kernel', 'daemon.js')`. */
export function distFile(...parts: string[]): string {
  return join(packageRoot(), 'dist', ...parts);
}

/** Version of the package. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/** Folder of all state, absolute: `GPT_LAB_HOME`, or the platform's data directory. */
export function homeDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  // The daemon that gets it on its way runs in another folder.
  if (environment['GPT_LAB_HOME']) return resolve(environment['GPT_LAB_HOME']);
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'gpt-lab');
  if (process.platform === 'win32') return join(environment['LOCALAPPDATA'] ?? homedir(), 'gpt-lab');
  return join(environment['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share'), 'gpt-lab');
}
