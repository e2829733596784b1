/** The editor's colours, for the canvas: CSS alone does not reach it. */

/** Colours of everything that is drawn on a canvas. */
export interface Theme {
  train: string;
  validation: string;
  learningRate: string;
  speed: string;
  text: string;
  grid: string;
  axis: string;
  background: string;
  font: string;
  highContrast: boolean;
}

/**
 * Marks an element with what VS Code says in classes of the body: a style sheet in an output's shadow tree cannot see
 * them.
 */
export function markTheme(element: HTMLElement): void {
  const { classList } = document.body;
  const light = classList.contains('vscode-light') || classList.contains('vscode-high-contrast-light');
  const dark = classList.contains('vscode-dark') || classList.contains('vscode-high-contrast');
  element.style.colorScheme = light ? 'light' : dark ? 'dark' : 'light dark';
  element.classList.toggle('high-contrast', isHighContrast());
  element.classList.toggle('reduce-motion', classList.contains('vscode-reduce-motion'));
}

function isHighContrast(): boolean {
  return document.body.className.includes('vscode-high-contrast');
}

/** Reads the colours that `element` sees; every variable has a fall-back, so that a page without an editor works. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  const color = (name: string, fallback: string): string => style.getPropertyValue(name).trim() || fallback;
  const highContrast = isHighContrast();
  const contrast = color('--vscode-contrastBorder', '#888888');
  return {
    train: color('--gpt-lab-train', '#3b82f6'),
    validation: color('--gpt-lab-validation', '#e8710a'),
    learningRate: color('--gpt-lab-rate', '#a371f7'),
    speed: color('--gpt-lab-speed', '#2ea043'),
    text: color('--vscode-descriptionForeground', '#808080'),
    grid: highContrast ? withAlpha(contrast, 0.4) : color('--gpt-lab-grid', 'rgba(128,128,128,0.16)'),
    axis: highContrast ? contrast : 'rgba(128,128,128,0.4)',
    background: color('--vscode-editor-background', '#ffffff'),
    font: `11px ${color('--vscode-font-family', 'system-ui, sans-serif')}`,
    highContrast,
  };
}

const probe = document.createElement('canvas').getContext('2d');

/** A CSS colour with another opacity. */
export function withAlpha(color: string, alpha: number): string {
  if (!probe) return color;
  // The canvas writes every opaque colour as #rrggbb and every other one as rgba().
  probe.fillStyle = '#808080';
  probe.fillStyle = color;
  const normal = probe.fillStyle;
  const channels = normal.startsWith('#')
    ? [1, 3, 5].map((at) => Number.parseInt(normal.slice(at, at + 2), 16))
    : (normal.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  return `rgba(${channels.join(', ')}, ${alpha})`;
}

/** Calls `listener` when the editor's theme changes; returns how to stop. */
export function onThemeChange(listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  observer.observe(document.body, {
    attributes: true,
    attributeFilter: ['class', 'style', 'data-vscode-theme-id'],
  });
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['style', 'class'] });
  return () => observer.disconnect();
}
