import type { RuntimeRoutes } from '../api/runtime-routes';
import type { Volumes } from './volumes';

/** What user code asks for at the socket of its container: to publish what it wrote, to see what others published. */
export function addVolumeRoutes(routes: RuntimeRoutes, volumes: Volumes): void {
  routes.add({
    method: 'POST',
    path: '/runtime/volumes/{name}/commit',
    async handle({ containerId, params }) {
      const { revision, changed, leftOut } = await volumes.commitVolume(containerId, params.name!);
      const left = [...leftOut].slice(0, LEFT_OUT_MAX).map(([path, reason]) => ({ path, reason }));
      return { revision, changed, left_out: left };
    },
  });
  routes.add({
    method: 'POST',
    path: '/runtime/volumes/{name}/reload',
    handle: async ({ containerId, params }) => ({
      revision: await volumes.reloadVolume(containerId, params.name!),
    }),
  });
}

/** As many are said as somebody reads. */
const LEFT_OUT_MAX = 100;
