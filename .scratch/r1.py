exec(open('/work/h/learn/.scratch/roots.py').read())
for n in ('acon_c','meta_acon'):
    for r in ('value','derivative','second_derivative','gradient_p1','gradient_p2'):
        print(f'        "{r}": {roots(n,r)},')
    print(lip(n), value_range(n), REFERENCE[n].value(np.array([-1e5,1e5]),*DEFINITIONS[n].examples[0]))
