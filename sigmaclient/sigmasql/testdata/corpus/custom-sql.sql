select ORDER_ID "Order Id", STATUS "Status" from (select ORDER_ID, STATUS from (-- the biggest ones
select ORDER_ID, STATUS -- limit 1000
from SHOP.SALES.ORDERS /* ; limit 1000 */
order by AMOUNT desc, ORDER_ID
limit 1000) Q1 limit 1000) Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}