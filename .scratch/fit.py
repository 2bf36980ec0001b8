import numpy as np
from scipy.optimize import least_squares
x=np.concatenate([np.linspace(-3,3,2001)])
y=np.where(x>0,x,.01*x)
X=np.stack([x**i for i in range(6)],1); Z=np.stack([x**j for j in range(1,5)],1)
Q={'a':lambda b:1+np.abs(Z)@np.abs(b),'b':lambda b:1+np.abs(Z@b),'nonsafe':lambda b:1+Z@b}
start=np.array([.03,.6,2.4,3.0,1.5,.25, 1.2,4.4,.9,.35])
for v,q in Q.items():
    best=None
    rng=np.random.default_rng(0)
    for t in range(12):
        p0=start*(1+.3*rng.standard_normal(10)*(t>0))
        if v=='nonsafe': p0[[6,8]]*= 0.0 if t<6 else 1
        r=least_squares(lambda p:(X@p[:6])/q(p[6:])-y,p0,xtol=1e-14,ftol=1e-14,gtol=1e-14,max_nfev=3000)
        if v=='nonsafe' and (q(r.x[6:])<=0.05).any(): continue
        if best is None or r.cost<best.cost: best=r
    p=best.x
    if v=='a': p[6:]=np.abs(p[6:])
    e=(X@p[:6])/q(p[6:])-y
    print(v, np.sqrt((e**2).mean()), np.abs(e).max(), [round(float(t),6) for t in p])
