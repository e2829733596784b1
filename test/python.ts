/** Python for tests that need it: an environment in a cache outside the work tree, made once for its requirements. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../scripts/workbench.mjs';

const execute = promisify(execFile);

/** An interpreter with the packages, or why there is none. */
export type PythonEnvironment =
  | { readonly python: string; readonly skip?: undefined }
  | { readonly python?: undefined; readonly skip: string };

/**
 * A Python with exactly these packages (`name==version`), installed from PyPI on first use. `GPT_LAB_PYTHON` names the
 * interpreter that it is made with.
 */
export async function pythonWith(name: string, requirements: readonly string[]): Promise<PythonEnvironment> {
  const base = process.env['GPT_LAB_PYTHON'] ?? 'python3';
  const cache = cacheFolder();
  const hash = createHash('sha256')
    .update([base, ...requirements].join('\n'))
    .digest('hex')
    .slice(0, 8);
  const folder = join(cache, `python-${name}-${hash}`);
  const python = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const complete = join(folder, 'complete');
  if (existsSync(complete)) return { python };
  try {
    await execute(base, ['--version']);
  } catch {
    return { skip: `there is no Python: ${base} does not run` };
  }
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(cache, { recursive: true });
    await execute(base, ['-m', 'venv', folder]);
    await execute(python, [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      ...requirements,
    ]);
    await writeFile(complete, requirements.join('\n'));
    return { python };
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return { skip: `${requirements.join(', ')} could not be installed: ${(stderr ?? message).trim()}` };
  }
}
