import sys,types,math
sys.argv=['x']
import importlib.util
from pathlib import Path
ROOT=Path('/work/h/learn')
for name, path in ("fastact", ROOT / "fastact"), ("fastact.kernels", ROOT / "kernels"), ("fastact.verify", ROOT / "fastact" / "verify"):
    sys.modules[name] = types.ModuleType(name); sys.modules[name].__path__ = [str(path)]
import numpy as np
from scipy.optimize import brentq
from fastact.kernels.definitions import DEFINITIONS
from fastact.reference import REFERENCE
def roots(name, role, span=60):
    d=DEFINITIONS[name]; o=REFERENCE[name]; out=[]
    for ex in d.examples:
        f=(o.gradients[role[9:]] if role.startswith('gradient') else getattr(o,role))
        g=np.concatenate([np.linspace(-span,span,60001)+1.234e-7]); v=f(g,*ex)
        for i in np.nonzero(np.sign(v[1:])*np.sign(v[:-1])<0)[0]:
            r=brentq(lambda t: float(f(np.array([t]),*ex)[0]),g[i],g[i+1],xtol=1e-14)
            if abs(r)>1e-6 and abs(float(f(np.array([r]),*ex)[0]))<1e-6: out.append(float(f"{r:.10g}"))
    return tuple(dict.fromkeys(out))
def lip(name):
    d=DEFINITIONS[name]; f=REFERENCE[name].derivative
    ex=d.examples[0] if None in d.params.values() else tuple(d.params.values())
    g=np.linspace(-30,30,6000001); v=np.abs(f(g,*ex)); i=int(v.argmax())
    from scipy.optimize import minimize_scalar
    r=minimize_scalar(lambda t:-abs(float(f(np.array([t]),*ex)[0])),bounds=(g[max(i-2,0)],g[min(i+2,len(g)-1)]),method='bounded',options={'xatol':1e-14})
    return max(-r.fun, v[i])
def value_range(name):
    d=DEFINITIONS[name]; f=REFERENCE[name].value
    ex=d.examples[0] if None in d.params.values() else tuple(d.params.values())
    v=f(np.linspace(-60,60,1200001),*ex); return v.min(),v.max()
if __name__=='__main__':
    pass
