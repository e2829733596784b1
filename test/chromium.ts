/** The Chromium that tests in a browser use: the system's. */
import { existsSync } from 'node:fs';

export const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** Why tests in a browser cannot run here, or false. */
export const noBrowser: string | false = existsSync(executablePath)
  ? false
  : `no Chromium at ${executablePath}: install it or set CHROMIUM`;
