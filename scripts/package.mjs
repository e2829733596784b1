/**
 * Packages the extension for this platform: gpt-lab-<platform>-<version>.vsix with only what it needs at run time.
 * Everything is staged in dist/vsix first, since node_modules as a whole must not travel.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, node24, prepare, root, run, step } from './tools.mjs';

const platform = `${process.platform}-${process.arch}`;
const stage = join(root, 'dist', 'vsix');

/** Copies a path of the clone to the same place in the stage. */
function take(path, filter = () => true) {
  const source = join(root, path);
  if (!existsSync(source)) throw new Error(`${path} is missing: run \`npm run build\``);
  cpSync(source, join(stage, path), { recursive: true, filter: (file) => filter(file) });
}

/** zeromq's JavaScript and one binary: it ships a dozen for other systems and old Nodes, 14 MB together. */
function takeZeromq() {
  const zeromq = 'node_modules/zeromq';
  for (const file of readdirSync(join(root, zeromq, 'lib')))
    if (file.endsWith('.js')) take(`${zeromq}/lib/${file}`);
  for (const file of readdirSync(join(root, zeromq)))
    if (file.startsWith('LICENSE')) take(`${zeromq}/${file}`);
  takeBinary(`${zeromq}/build`);
  for (const file of ['package.json', 'build/loader.js']) take(`node_modules/cmake-ts/${file}`);
  // Its other dependency is headers for compiling, which a prebuilt binary does not need and vsce would look for.
  const manifest = JSON.parse(readFileSync(join(root, zeromq, 'package.json'), 'utf8'));
  delete manifest.dependencies['node-addon-api'];
  writeFileSync(join(stage, zeromq, 'package.json'), JSON.stringify(manifest, null, 2));
}

/** The binary for this system that its loader would try first; Node-API makes it fit every Node since its own. */
function takeBinary(build) {
  const binaries = JSON.parse(readFileSync(join(root, build, 'manifest.json'), 'utf8'));
  const [best] = Object.keys(binaries)
    .filter((key) => {
      const { os, arch, libc } = JSON.parse(key);
      return os === process.platform && arch === process.arch && libc !== 'musl';
    })
    .sort((a, b) => JSON.parse(b).abi - JSON.parse(a).abi);
  if (best === undefined) throw new Error(`zeromq has no binary for ${platform}`);
  take(`${build}/${binaries[best]}`);
  // The loader warns of binaries that its list names and the folder lacks.
  writeFileSync(join(stage, build, 'manifest.json'), JSON.stringify({ [best]: binaries[best] }));
}

function takeTypeScript() {
  take('node_modules/typescript/package.json');
  take('node_modules/typescript/LICENSE.txt');
  for (const file of readdirSync(join(root, 'node_modules/typescript/lib'))) {
    if (file === 'typescript.js' || /^lib\..*d\.ts$/.test(file)) take(`node_modules/typescript/lib/${file}`);
  }
  take('node_modules/@types/node');
  take('node_modules/undici-types');
}

/** The manifest as it travels: nothing that only a clone can run. */
function writeManifest() {
  const {
    scripts,
    devDependencies,
    allowScripts,
    private: isPrivate,
    ...manifest
  } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  void [scripts, devDependencies, allowScripts, isPrivate];
  // What is bundled needs no package; vsce packs the packages that are named here.
  const shipped = ['zeromq', 'typescript', '@types/node', 'gpt-lab-typescript-plugin'];
  const all = { ...manifest.dependencies, ...devDependencies, 'gpt-lab-typescript-plugin': '*' };
  manifest.dependencies = Object.fromEntries(shipped.map((name) => [name, all[name]]));
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest.version;
}

function sizes(folder, prefix = '') {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? sizes(join(folder, entry.name), `${prefix}${entry.name}/`)
      : [{ path: prefix + entry.name, bytes: statSync(join(folder, entry.name)).size }],
  );
}

/**
 * Builds the .vsix from a built clone; returns its path.
 * @returns {Promise<string>}
 */
export async function packageExtension() {
  const version = await step('Staging the extension', () => {
    rmSync(stage, { recursive: true, force: true });
    mkdirSync(stage, { recursive: true });
    for (const file of ['README.md', 'CHANGELOG.md', 'LICENSE', 'package.nls.json']) take(file);
    const shipped = ['extension', 'kernel', 'webview', 'native', 'types'];
    for (const part of shipped) take(`dist/${part}`, (file) => !file.endsWith('.map'));
    take('extension/media');
    take('extension/l10n');
    take('samples/data');
    takeZeromq();
    takeTypeScript();
    take('node_modules/gpt-lab-typescript-plugin');
    // Everything that was staged is meant to travel; vsce warns where nothing says so.
    writeFileSync(join(stage, '.vscodeignore'), '');
    return writeManifest();
  });
  const target = join(root, `gpt-lab-${platform}-${version}.vsix`);
  await step('Packaging', () =>
    run(
      node24,
      [
        join(root, 'node_modules/@vscode/vsce/vsce'),
        ...['package', '--target', platform, '--no-rewrite-relative-links'],
        ...['--allow-missing-repository', '--skip-license', '--out', target],
      ],
      { cwd: stage, stdio: ['ignore', 'ignore', 'inherit'] },
    ),
  );
  const largest = sizes(stage)
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 6);
  const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;
  process.stderr.write(`  ${target}: ${megabytes(statSync(target).size)}\n`);
  for (const { path, bytes } of largest)
    process.stderr.write(`    ${megabytes(bytes).padStart(8)}  ${path}\n`);
  return target;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await prepare();
    await packageExtension();
  } catch (error) {
    fail(error);
  }
}
