/** MIME type of a plot output. A file of its own, so that naming it loads no validation. */
export const PLOT_MIME = 'application/vnd.gpt-lab.plot+json';
