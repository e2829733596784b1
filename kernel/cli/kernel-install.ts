/** `gpt-lab kernel install`: makes the kernel known to JupyterLab, `jupyter console` and other front ends. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { distFile } from '../home.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, print, printJson } from './command.ts';

/** Name of the kernelspec, as notebooks say in their metadata. */
export const KERNEL_NAME = 'gpt-lab';

/** The user's own Jupyter data folder, where Jupyter looks first. */
export function jupyterDataDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment['JUPYTER_DATA_DIR']) return environment['JUPYTER_DATA_DIR'];
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Jupyter');
  if (process.platform === 'win32') return join(environment['APPDATA'] ?? homedir(), 'jupyter');
  // An empty value means the default, as in the XDG specification.
  return join(environment['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'jupyter');
}

/** Writes the kernelspec below `dataDirectory` and gives its folder. Paths in it are absolute. */
export function installKernelspec(dataDirectory: string): string {
  const kernel = distFile('kernel', 'kernel.js');
  if (!existsSync(kernel))
    throw new UsageError([`The kernel is not built: ${kernel} is missing, run \`npm run build\``]);
  const folder = join(dataDirectory, 'kernels', KERNEL_NAME);
  mkdirSync(folder, { recursive: true });
  const spec = {
    argv: [process.execPath, kernel, '{connection_file}'],
    display_name: 'GPT Lab (TypeScript)',
    language: 'typescript',
    interrupt_mode: 'message',
    // Inside VS Code's own Node the executable is Electron.
    env: process.versions['electron'] ? { ELECTRON_RUN_AS_NODE: '1' } : {},
    metadata: {},
  };
  writeFileSync(join(folder, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`);
  return folder;
}

export const kernelInstall = defineCommand({
  name: 'kernel install',
  summary: 'Make the kernel known to JupyterLab and other Jupyter front ends',
  notes: 'Without an option the kernel is installed for this user.',
  options: {
    user: { type: 'flag', help: 'into the user’s Jupyter data folder (the default)' },
    prefix: { type: 'text', value: 'DIR', help: 'into DIR/share/jupyter, e.g. a virtual environment' },
  },
  run({ values }) {
    if (values.user && values.prefix !== undefined)
      throw new UsageError(['--user and --prefix are two places: give one of them']);
    const folder = installKernelspec(
      values.prefix === undefined ? jupyterDataDirectory() : join(resolve(values.prefix), 'share', 'jupyter'),
    );
    if (values.json) printJson({ kernel: KERNEL_NAME, directory: folder });
    else
      print(
        `Installed the kernel "${KERNEL_NAME}" in ${folder}: \`jupyter console --kernel ${KERNEL_NAME}\``,
      );
    return Promise.resolve(EXIT.done);
  },
});
