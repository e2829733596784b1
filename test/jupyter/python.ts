/** A Python with Jupyter's own clients, for tests: installed once into the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../scripts/workbench.mjs';

/** Exact versions; the folder's name changes with them. */
const PACKAGES = [
  'jupyter_client==8.10.0',
  'jupyter_kernel_test==0.7.0',
  'nbclient==0.11.0',
  'nbformat==5.11.1',
  'jupyter-console==6.6.3',
  'ipykernel==7.4.0',
];

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** The interpreter, or why there is none. */
export function jupyterPython(): { python: string } | { missing: string } {
  if (!succeeds('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 10))']))
    return { missing: 'there is no Python 3.10 or newer: Jupyter’s own clients are not tried' };
  const folder = join(cacheFolder(), `jupyter-${PACKAGES.map((name) => name.split('==')[1]).join('-')}`);
  const python = join(folder, 'bin', 'python');
  if (existsSync(python)) return { python };
  const partial = `${folder}.${process.pid}`;
  const made =
    succeeds('python3', ['-m', 'venv', '--copies', partial]) &&
    succeeds(join(partial, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...PACKAGES]);
  // Aside and renamed; only the scripts of a virtual environment mind its place, and they are not used.
  if (made) renameSync(partial, folder);
  else rmSync(partial, { recursive: true, force: true });
  return made ? { python } : { missing: 'Jupyter’s packages could not be installed: are they in reach?' };
}
