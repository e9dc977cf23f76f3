import { lazy, Suspense, type ComponentProps } from "react";
import type { Places } from "../layout/engine";
import { Loading } from "./basic";
import type FlowOf from "./flow";

const Flow = lazy(() => import("./flow"));

type Props = Omit<ComponentProps<typeof FlowOf>, "places"> & { places: Places | null };

/** A graph, once its layout and the library that draws it are there. */
export function Graph({ places, ...rest }: Props) {
  if (!places) return <Loading what="The layout" />;
  return (
    <Suspense fallback={<Loading what="The graph" />}>
      <Flow places={places} {...rest} />
    </Suspense>
  );
}
